"""What a hint claims about the hidden constants, in free text, in an equation, or as the law that fits."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from codctl.envs.optimal_control.laws import LAWS, WORLDS
from codctl.envs.wording import is_hedged, is_negated, plain


@dataclass(frozen=True)
class Claims:
    """The last statement about each; None where there is none.

    Attributes:
        a: What remains of the velocity.
        b: What a push adds.
        sign: Of b, 1 or −1; a number for b states it too.
        law: The law that is said to be the best.
    """

    a: float | None = None
    b: float | None = None
    sign: int | None = None
    law: str | None = None


_PART = re.compile(r"[;\n,]|\.(?!\d)|\b(?:and|but)\b", re.IGNORECASE)
_CONDITION = re.compile(r"\b(?:if|whether|unless|when(?:ever)?|suppose|assuming)\b", re.IGNORECASE)
_DIGITS = r"[-+−]?\s?(?:\d++(?:\.\d*+)?+|\.\d++)"  # possessive: never a piece of a longer number
_NUMBER = rf"{_DIGITS}(?![\w.])"
_MULTIPLE = r"\s*(?:[·×/^]|to\b|or\b|\.\.|[-–—]\s*\d)"  # 0.5*v is no value of a, nor is 0.5 to 0.9
_LINK = r"(?:\s*(?:=|≈|≃|:|→|->|\\approx|\bis|\bwas|\bequals|\bof)\s*)"
_ABOUT = r"(?:(?:about|around|roughly|approximately|nearly|exactly|close\s+to|equal\s+to|near|≈)\s*)?"
_VALUE = re.compile(rf"\b(?P<name>[ab])(?:\s?env|\s?hat)?{_LINK}{_ABOUT}(?P<value>{_NUMBER})(?!{_MULTIPLE})")
_EQUATION = re.compile(
    rf"=\s*(?P<a>{_DIGITS})\s*[·×]?\s*v\w*(?:\(t\)|\[t\])?\s*(?P<minus>[-+−])\s*(?P<b>{_DIGITS})\s*[·×]?\s*u\b"
)
_SIGN = re.compile(
    r"\bb(?:\s?env|\s?hat)?\b(?:['’]s)?(?:\s*(?:is|has|was|=|:|sign|the|a|always|clearly|here)\b)*\s*[:=(]?\s*"
    r"(?P<after>positive|negative|>\s*0(?![.\d])|<\s*0(?![.\d]))"
    r"|\b(?P<before>positive|negative)\s+b\b"
    r"|\bsign\s*(?:of\s+|\()\s*b(?:\s?env)?\s*\)?\s*(?:is|=|:)?\s*(?P<of>positive|negative|[-+−])",
    re.IGNORECASE,
)
# Signs that `plain` would take for emphasis.
_TIMES, _NEARLY = re.compile(r"(?<=[\d.])\s*\*\s*(?=[a-z(])"), re.compile(r"~(?=\s*[-+−]?\s?\.?\d)")
_NOTE = re.compile(
    rf"\b(?P<law>{'|'.join(LAWS)})(?:\s*=\s*|\s+ended\s+)(?P<far>far[- ])?(?P<side>over|beyond|short)\b", re.IGNORECASE
)
_LAW = re.compile(
    rf"\bbest(?:\s+law)?{_LINK}(?P<after>{'|'.join(LAWS)})\b"
    rf"|\b(?P<before>{'|'.join(LAWS)})\s+(?:fits|is\s+(?:the\s+)?(?:best|right))\b",
    re.IGNORECASE,
)


@lru_cache(maxsize=1024)  # an update and the task after it are scored with the same hints
def claims(hints: str) -> Claims:
    """Read a hint. What is denied, left open, or only a condition claims nothing, nor do ranges."""
    found = Claims()
    text = plain(_NEARLY.sub("≈", _TIMES.sub("×", hints)))
    for part in _PART.split(text):
        if not (is_negated(part) or is_hedged(part) or _CONDITION.search(part)):
            found = _with(found, part)
    return found


def notes(hints: str) -> dict[str, str]:
    """How far from the target laws are said to have ended, as `codctl.envs.optimal_control.laws` names it."""
    side = {"over": "over", "beyond": "over", "short": "short"}
    return {
        note["law"].lower(): ("far-" if note["far"] else "") + side[note["side"].lower()]
        for note in _NOTE.finditer(plain(hints))
    }


def _with(found: Claims, part: str) -> Claims:
    """The claims so far, with what one part of the text adds or replaces."""
    a, b, sign, law = found.a, found.b, found.sign, found.law
    for stated in _VALUE.finditer(part):
        if stated["name"] == "a":
            a = _read(stated["value"])
        else:
            b = _read(stated["value"])
            sign = _sign_of(b)
    for equation in _EQUATION.finditer(part):
        a, b = _read(equation["a"]), _read(equation["b"]) * (1 if equation["minus"] == "+" else -1)
        sign = _sign_of(b)
    for stated in _SIGN.finditer(part):
        said = (stated["after"] or stated["before"] or stated["of"]).lower()
        sign = 1 if said.startswith(("positive", ">", "+")) else -1
    for stated in _LAW.finditer(part):
        law = (stated["after"] or stated["before"]).lower()
        a, b = WORLDS[LAWS.index(law)].a, WORLDS[LAWS.index(law)].b
        sign = _sign_of(b)
    return Claims(a, b, sign, law)


def _read(number: str) -> float:
    return float(number.replace("−", "-").replace(" ", ""))


def _sign_of(value: float) -> int | None:
    return (value > 0) - (value < 0) or None
