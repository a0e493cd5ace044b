"""Takes personal details out of texts: home folders, user names, e-mail addresses, keys, IP addresses.

It finds what has a form that tells it. Names in running text, customers, or what a picture shows have none.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial

from codctl.sessions.session import Session, rewritten

_HOME = re.compile(
    r"(?P<root>/home/|/Users/|/export/home/|\b[A-Za-z]:(?:\\\\|\\|/)Users(?:\\\\|\\|/))"
    r"(?P<name>[^/\\\s\"'`<>|:;,()\[\]{}*?]+)"
)
# Claude Code and others make folder names of paths: -home-jane-work.
_FLAT_HOME = re.compile(r"(?P<root>-(?:home|Users)-)(?P<name>[A-Za-z0-9_.]+)")
_EMAIL = re.compile(r"\b[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}\b")
_IN_URL = re.compile(r"(?P<before>\b[a-z][a-z0-9+.-]*://)[^/\s:@\"']+:[^/\s@\"']+(?=@)")
_KEYS = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"\b(?:sk|pk|rk)[-_][A-Za-z0-9_-]{16,}"),  # OpenAI, Anthropic, Stripe
    re.compile(r"\b(?:gh[pousr]_|github_pat_|glpat-|hf_|npm_|pypi-|dckr_pat_|xox[abeprs]-|xapp-)[A-Za-z0-9_-]{10,}"),
    re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    re.compile(r"\bAIza[A-Za-z0-9_-]{30,}"),
    re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),  # JSON web tokens
    re.compile(r"(?P<before>\b(?:Bearer|Basic)\s+)[A-Za-z0-9._~+/=-]{8,}"),
    re.compile(
        r"(?P<before>(?:(?i:api[_-]?key|secret(?:[_-]?(?:access[_-]?)?key)?|(?:access|auth|refresh|hf|github)[_-]?token|"
        r"passw(?:or)?d|passphrase|credentials?)|(?<![a-z]_)[Tt]oken|TOKEN)(?:\\?[\"'])?\s*[=:]\s*(?:\\?[\"'])?)"
        r"[^\s\"'\\,;&(){}<>\[\]]{6,}"  # eos_token and what stands in angle brackets are of a tokenizer
    ),
)
_IPV4 = re.compile(r"(?<![\w.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\w.]*\d)")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])")
# Accounts that belong to nobody, and words that are no names.
_NOBODY = {
    "user",
    "root",
    "ubuntu",
    "debian",
    "runner",
    "node",
    "admin",
    "app",
    "shared",
    "public",
    "work",
    "linuxbrew",
}
_SHORTEST_NAME = 3


class Mask:
    """Masks texts, and counts what it has masked.

    Args:
        words: Further words to mask, such as names; upper or lower case does not matter.

    Attributes:
        counts: How often each kind was masked: home, user, email, key, ip, word.
    """

    def __init__(self, words: Iterable[str] = ()) -> None:
        self.counts: Counter[str] = Counter()
        self._words = [re.compile(_whole(re.escape(word)), re.IGNORECASE) for word in words if word]

    def session(self, session: Session) -> Session:
        """A session without personal details. Tokens of replies whose text changes are dropped."""
        names = set(_names(session))
        users = [re.compile(_whole(re.escape(name))) for name in sorted(names, key=len, reverse=True)]
        return rewritten(session, partial(self._masked, users=users))

    def text(self, text: str) -> str:
        """A text without personal details; user names are those of the home folders in it."""
        users = [re.compile(_whole(re.escape(name))) for name in sorted(set(_names_in(text)), key=len, reverse=True)]
        return self._masked(text, users)

    def _masked(self, text: str, users: Iterable[re.Pattern[str]]) -> str:
        for pattern in _KEYS:
            text = self._replace("key", pattern, text, "[key]")
        text = self._replace("key", _IN_URL, text, "[key]")
        text = self._replace("email", _EMAIL, text, "[email]")
        for pattern in (_HOME, _FLAT_HOME):
            text = pattern.sub(self._home, text)
        for pattern in users:
            text = self._replace("user", pattern, text, "user")
        text = _IPV4.sub(self._ip, text)
        text = _IPV6.sub(self._ip, text)
        for pattern in self._words:
            text = self._replace("word", pattern, text, "[word]")
        return text

    def _replace(self, kind: str, pattern: re.Pattern[str], text: str, by: str) -> str:
        def put(match: re.Match[str]) -> str:
            before = match.groupdict().get("before") or ""
            if match[0] == before + by:  # masked already
                return match[0]
            self.counts[kind] += 1
            return before + by

        return pattern.sub(put, text)

    def _home(self, match: re.Match[str]) -> str:
        if match["name"] in ("user", "."):
            return match[0]
        self.counts["home"] += 1
        return match["root"] + "user"

    def _ip(self, match: re.Match[str]) -> str:
        import ipaddress

        try:
            address = ipaddress.ip_address(match[0])
        except ValueError:
            return match[0]
        is_long = any(len(group) > 2 for group in match[0].split(":"))  # a[1::2] is none
        if address.is_loopback or address.is_unspecified or not (is_long and re.search(r"\d", match[0])):
            return match[0]
        self.counts["ip"] += 1
        return "[ip]"


def _names(session: Session) -> Iterator[str]:
    def look(text: str) -> str:
        found.update(_names_in(text))
        return text

    found: set[str] = set()
    rewritten(session, look)
    yield from found


def _names_in(text: str) -> Iterator[str]:
    """User names, as home folders are called."""
    for pattern in (_HOME, _FLAT_HOME):
        for match in pattern.finditer(text):
            name = match["name"]
            if len(name) >= _SHORTEST_NAME and name.lower() not in _NOBODY:
                yield name


def _whole(pattern: str) -> str:
    return rf"(?<![A-Za-z0-9]){pattern}(?![A-Za-z0-9])"
