"""Which code moves where, as a hint states it: in free text or in pairs, in either order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from codctl.envs.wording import is_hedged, is_negated, plain

_CLAUSE = re.compile(r"[;\n.]")
_DIRECTION = r"(?:up|down|left|right)"
_WORD = re.compile(rf"\b(?:[KQXZ]|(?i:{_DIRECTION}|wall))\b")  # codes are upper case only
# "near the left border" says where, not which way; in `up=K wall=Q` the wall is an observation
_PLACE = re.compile(
    rf"\b{_DIRECTION}(?:most)?[- ]+(?:wall|border|edge|boundary|side|corner|column|row)s?\b(?!\s*=)", re.IGNORECASE
)
# "right, not left" denies left and still says right
_DENIED = re.compile(
    rf"[,(]?\s*\b(?:and\s+|but\s+)?(?:not|never|rather\s+than|instead\s+of)\s+(?:(?i:{_DIRECTION})|[KQXZ])\b"
    rf"(?:\s*(?:,|or|nor|and)\s*(?:(?i:{_DIRECTION})\b(?!\s*[=:])))*"
)
_CHOICE = re.compile(rf"\b(?:(?i:{_DIRECTION}\s*(?:or|/)\s*{_DIRECTION})|[KQXZ]\s*(?:or|/)\s*[KQXZ])\b")
_CONDITION = re.compile(r"\b(?:if|unless|when|whenever)\b([^,]*)", re.IGNORECASE)


@lru_cache(maxsize=1024)  # an update and the task after it are scored with the same hints
def claims(hints: str) -> frozenset[tuple[str, str]]:
    """The (code, direction) pairs that a hint states.

    What is denied, left open or only a condition claims nothing, nor does a raw "wall K".
    """
    return frozenset(
        claim
        for clause in _CLAUSE.split(plain(hints))
        for part in _parts(_DENIED.sub(" ", _PLACE.sub(" ", clause)))
        if not is_negated(part) and not is_hedged(part) and not _CHOICE.search(part)
        for claim in _pairs(_CONDITION.sub(_unless_whole, part))
    )


def _parts(clause: str) -> Iterator[str]:
    """The parts between commas, joined until each has a code and a direction: a doubt spoils only its own part."""
    part = ""
    for piece in clause.split(","):
        if part and _WORD.search(piece) and _is_complete(part):
            yield part
            part = piece
        else:
            part = f"{part},{piece}" if part else piece
    yield part


def _unless_whole(condition: re.Match[str]) -> str:
    """A condition that has both code and direction says nothing; one that has only one of them belongs to the rest."""
    return " " if _is_complete(condition[1]) else condition[0]


def _is_complete(part: str) -> bool:
    return len({len(word) == 1 for word in _WORD.findall(part)}) == 2


def _pairs(part: str) -> Iterator[tuple[str, str]]:
    words = [word if len(word) == 1 else word.lower() for word in _WORD.findall(part)]
    for first, second in zip(words[::2], words[1::2], strict=False):
        code, direction = (first, second) if first.isupper() else (second, first)
        if code.isupper() and direction.islower() and direction != "wall":
            yield code, direction
