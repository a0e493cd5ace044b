"""Rules and hints of wrapped environments."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from codctl.envs.base import Rendering
from codctl.envs.gymnasium.table import CODES

_RULES = """\
{title}.

Each turn you choose one of the action codes {codes}. Each code stands for a different one of these actions: {moves}. \
Which code stands for which action is hidden, but it stays the same in every task of this series.

Success ends the task with reward 1; the fewer turns you use, the better. Running out of turns, or a reply that \
cannot be read, ends the task with reward 0.

Use your turns both to succeed and to find out what is hidden: what you find out helps you in the later tasks of this \
series.

Hints from earlier tasks (your own notes; they may be wrong, incomplete or not apply here):
{hints}

Think first, then choose a code. Your reply must contain exactly one pair of answer tags, like this:
I have not tried Q yet, so I find out what it does.
<answer>Q</answer>"""

_CLAUSE = re.compile(r"[;\n.]")
_NEGATION = re.compile(r"\b(not|never|unknown|cannot|\w+n['’]t)\b", re.IGNORECASE)


def rules(title: str, moves: Sequence[str], hints: str, rendering: Rendering) -> str:
    if rendering == "compact":
        return f"codes hints {hints or 'none'}"
    return _RULES.format(
        title=title, codes=", ".join(CODES[: len(moves)]), moves=", ".join(moves), hints=hints or "(none yet)"
    )


def answered(text: str, codes: Sequence[str]) -> str:
    """The code with which an answer begins, in either case, whatever stands around it."""
    found = re.match(rf"\W*([{''.join(codes)}])\b", text, re.IGNORECASE)
    return found[1].upper() if found else text


def hint(facts: Mapping[int, int], moves: Sequence[str], rendering: Rendering) -> str:
    """Known facts (code → action) as a hint."""
    pairs = [(CODES[code], moves[action]) for code, action in sorted(facts.items())]
    if rendering == "compact":
        return " ".join(f"{move}={code}" for code, move in pairs) or "none"
    return "\n".join(f"- {code} means {move}." for code, move in pairs) or "Nothing is known for certain yet."


def claims(hints: str, moves: Sequence[str]) -> set[tuple[int, int]]:
    """The (code, action) pairs that a hint states, in either order; a clause with a negation states nothing."""
    codes = CODES[: len(moves)]
    word = re.compile(rf"\b(?:{'|'.join(codes)}|(?i:{'|'.join(map(re.escape, moves))}))\b")
    lower = [move.lower() for move in moves]
    found: set[tuple[int, int]] = set()
    for clause in _CLAUSE.split(hints):
        words = [] if _NEGATION.search(clause) else word.findall(clause)
        for first, second in zip(words[::2], words[1::2], strict=False):
            code, move = (first, second) if first in codes else (second, first)
            if code in codes and move.lower() in lower:
                found.add((codes.index(code), lower.index(move.lower())))
    return found
