"""How one reply is scored: decision, content and form, and how they become one reward.

Published: a wrong decision makes all three 0. Where the interview should end, content is 1, and form is 1 for the tag
alone. Where it should go on, content is 1, ½ or 0 as a question asks for what is missing, for something close to it, or
for anything else; form is 1, ½ or 0 for one, two or more questions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Fusion = Literal["Ra+Rs", "sum", "Ra", "Rs"]


@dataclass(frozen=True)
class Scores:
    """Each from 0 to 1."""

    decision: float
    content: float
    form: float


WRONG = Scores(0.0, 0.0, 0.0)

_FUSED: dict[Fusion, tuple[float, Callable[[Scores], float]]] = {
    "Ra+Rs": (4.0, lambda s: s.decision * (1 + 2 * s.content) + s.form),
    "sum": (3.0, lambda s: s.decision + s.content + s.form),
    "Ra": (3.0, lambda s: 2 * s.content + s.form),
    "Rs": (4.0, lambda s: 3 * s.decision + s.form),
}
FUSIONS: tuple[Fusion, ...] = tuple(_FUSED)


def reward(scores: Scores, fusion: Fusion = "Ra+Rs") -> float:
    """The published sum, divided by the most that it can be: from 0 to 1."""
    most, fuse = _FUSED[fusion]
    return fuse(scores) / most


def form_of(questions: int) -> float:
    """The score of so many questions at once."""
    return {1: 1.0, 2: 0.5}.get(questions, 0.0)
