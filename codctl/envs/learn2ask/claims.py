"""Which points must be known and which need not be, as a hint states it: in free text or in pairs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from codctl.envs.learn2ask.points import NAMES, named
from codctl.envs.wording import is_hedged, is_negated, plain

_CLAUSE = re.compile(r"[;\n.]")
_PART = re.compile(r",|\bbut\b|\bwhile\b|\bwhereas\b", re.IGNORECASE)
_PAIR = re.compile(rf"\b({'|'.join(NAMES)})\s*[=:]\s*(need|skip)\b", re.IGNORECASE)
_NEED = re.compile(
    r"\b(?:need(?:s|ed)?|required?|requires|necessary|must|mandatory|essential|always\s+ask|has\s+to|have\s+to)\b",
    re.IGNORECASE,
)
_SKIP = re.compile(
    r"\b(?:skip(?:ped)?|unnecessary|unneeded|optional|irrelevant|superfluous|needless|avoid|ignore|leave\s+out)\b",
    re.IGNORECASE,
)
_CONDITION = re.compile(r"\b(?:if|unless|when|whenever|until)\b", re.IGNORECASE)
_MOST_CHARS = 20_000


@lru_cache(maxsize=1024)  # an update and the task after it are scored with the same hints
def claims(hints: str) -> frozenset[tuple[int, bool]]:
    """The (point, whether it must be known) pairs that a hint states.

    What is left open claims nothing, nor does a point that is only mentioned.
    """
    text = plain(hints[:_MOST_CHARS])
    pairs = {(NAMES.index(name.lower()), mark.lower() == "need") for name, mark in _PAIR.findall(text)}
    rest = _PAIR.sub(" ", text)
    return frozenset(pairs | {claim for clause in _CLAUSE.split(rest) for claim in _stated(clause)})


def _stated(clause: str) -> Iterator[tuple[int, bool]]:
    """The claims of a clause. Points of a part without a verb of its own go with the next verb, or with the last."""
    waiting: list[int] = []
    last: bool | None = None
    for part in _PART.split(clause):
        part = _CONDITION.split(part)[0]
        points = list(named(part))
        if is_hedged(part):
            waiting, last = [], None
            continue
        verdict = _verdict(part, follows=last)
        if verdict is None:
            waiting += points
            continue
        for point in (*waiting, *points):
            yield point, verdict
        waiting, last = [], verdict
    if last is not None:
        for point in waiting:
            yield point, last


def _verdict(part: str, *, follows: bool | None) -> bool | None:
    """Whether a part says "needed" or "not needed"; None where it says neither."""
    if _SKIP.search(part):
        return None if is_negated(_SKIP.sub(" ", part)) else False
    if _NEED.search(part):
        return not is_negated(part)
    return False if follows is not None and is_negated(part) else None
