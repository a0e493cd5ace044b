"""What the demonstrator says before it answers: where it wants to go, and what it knows or tries."""

from __future__ import annotations

from random import Random
from typing import Literal

from codctl.envs.base import Rendering
from codctl.envs.frozen_lake import terse
from codctl.envs.frozen_lake.names import Cell

Source = Literal["seen", "hints", "none"]

_AWAY = {"up": "above me", "down": "below me", "left": "to my left", "right": "to my right"}
_SAID = {
    "seen": (
        "In this task {code} has moved me {way}, so I use it again.",
        "I have seen that {code} moves {way}.",
        "{code} took me {way} before, so it will again.",
    ),
    "hints": (
        "My hints say that {code} moves {way}.",
        "According to my hints, {code} moves {way}.",
        "The hints give {code} for {way}.",
    ),
    "none": (
        "I do not know which code moves {way}, so I try {code}.",
        "The code for {way} is not known yet, and I try {code}.",
        "Nothing tells me how to move {way}; {code} may do it, so I try it.",
    ),
}


def thought(here: Cell, goal: Cell, way: str, code: str, source: Source, rendering: Rendering, rng: Random) -> str:
    """A sentence or two; one that calls a try a try."""
    if rendering == "terse":
        return terse.thought(way, code, known=source != "none", rng=rng)
    return f"{_aim(here, goal, way, rng)} {rng.choice(_SAID[source]).format(code=code, way=way)}"


def _aim(here: Cell, goal: Cell, way: str, rng: Random) -> str:
    away = terse.offsets(here, goal)
    where = " and ".join(f"{_count(count, direction)} {_AWAY[direction]}" for direction, count in away.items())
    if way in away:
        wants = (f"so I want to move {way}", f"so I go {way}")
    else:
        wants = (f"but the direct way is blocked, so I go {way}", f"but holes are in the way, so I go around: {way}")
    return f"The goal is {where}, {rng.choice(wants)}."


def _count(count: int, direction: str) -> str:
    noun = "row" if direction in ("up", "down") else "column"
    return f"{count} {noun}{'' if count == 1 else 's'}"
