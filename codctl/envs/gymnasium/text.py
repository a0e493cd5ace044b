"""Rules and hints of wrapped environments."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from codctl.envs.base import Rendering
from codctl.envs.gymnasium.table import CODES

_RULES = """{title}.
Each turn you choose one of the action codes {codes}. Each stands for one of the actions {moves}, no two for the same;
which for which is not told, but it is the same in every task of this series. Spending all turns or an unreadable reply
ends the task without reward.

Hints from earlier tasks in this series (your own notes; they may be wrong, incomplete or not apply here):
{hints}

Think briefly (at most a few sentences), then end your reply with exactly one line <answer>CODE</answer>."""

_CLAUSE = re.compile(r"[;\n.]")
_NEGATION = re.compile(r"\b(not|never|unknown|cannot|\w+n['’]t)\b", re.IGNORECASE)


def rules(title: str, moves: Sequence[str], hints: str, rendering: Rendering) -> str:
    if rendering == "compact":
        return f"codes hints {hints or 'none'}"
    return _RULES.format(
        title=title, codes=", ".join(CODES[: len(moves)]), moves=", ".join(moves), hints=hints or "(none yet)"
    )


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
