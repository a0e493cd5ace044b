"""How free text states something: its marks of emphasis, and the words that deny it or leave it open."""

from __future__ import annotations

import re

_MARKS = re.compile(r"[*_`~\"“”„«»‘]|(?<!\w)['’]|['’](?!\w)")  # an apostrophe inside a word stays
_NEGATION = re.compile(
    r"\b(not|never|nothing|no|nor|unknown|cannot|fails?|failed|useless|wrong|false|isnt|dont|doesnt|\w+n['’]t)\b",
    re.IGNORECASE,
)
_HEDGE = re.compile(
    r"\b(might|may|maybe|perhaps|possibly|probably|presumably|apparently|likely|could|would|seems?|appears?|either|"
    r"uncertain|unsure|unclear|unconfirmed|unverified|untested|untried|tentative(?:ly)?|guess(?:es|ed)?|suspect(?:ed)?|"
    r"i\s+(?:think|believe)|assum(?:e|ed|ing)|hypothes[ie]s|to\s+be\s+(?:tested|verified|confirmed))\b|\?",
    re.IGNORECASE,
)


def plain(text: str) -> str:
    """The text without the marks that Markdown and quotations put around words."""
    return _MARKS.sub("", text)


def is_negated(clause: str) -> bool:
    return _NEGATION.search(clause) is not None


def is_hedged(clause: str) -> bool:
    """Whether a clause says that something may be so: that is no claim."""
    return _HEDGE.search(clause) is not None
