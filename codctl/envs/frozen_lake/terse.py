"""FrozenLake-Obscure in the terse rendering: plain English, one line a turn, effects said as facts."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import TYPE_CHECKING

from codctl.envs.frozen_lake.names import DELTAS, DIRECTIONS, Cell, cell_name

if TYPE_CHECKING:
    from codctl.envs.frozen_lake.world import LakeEpisode, LakeTask, Move

RULES = """\
You walk on a frozen lake. Reach the goal and never step into a hole. Each of the codes K, Q, X and Z moves you one \
cell up, down, left or right. Which code moves where is hidden, but it stays the same in later tasks."""
_GRID = "Rows are a, b, c from the top, columns 1, 2, 3 from the left."


def first_observation(task: LakeTask) -> str:
    if not task.holes:
        return _state(task, task.start, task.max_turns)
    holes = ", ".join(map(cell_name, sorted(task.holes)))
    return f"{_GRID} Holes: {holes}. {_state(task, task.start, task.max_turns)}"


def next_observation(episode: LakeEpisode, move: Move) -> str:
    return f"{_effect(move)} {_state(episode.task, episode.cell, episode.max_turns - episode.turns)}"


def transcript(episode: LakeEpisode) -> str:
    return " ".join(_effect(move) for move in episode.moves) or "You did not move."


def hint_from(known: Iterable[tuple[int, str]]) -> str:
    return " ".join(f"{code} moves {DIRECTIONS[direction]}." for direction, code in known) or "Nothing noted yet."


def thought(direction: str, code: str, *, known: bool, rng: Random) -> str:
    """What the demonstrator says before its answer. A try must not sound like a fact."""
    facts = (f"I go {direction}: {code} moves {direction}.", f"{code} moves {direction}, and I go {direction}.")
    tries = (f"I want to go {direction} and try {code}.", f"To go {direction}, I try {code}.")
    return rng.choice(facts if known else tries)


def offsets(here: Cell, there: Cell) -> dict[str, int]:
    """How many cells away something lies, by direction."""
    away = {
        DIRECTIONS[d]: (there[0] - here[0]) * row + (there[1] - here[1]) * column
        for d, (row, column) in enumerate(DELTAS)
    }
    return {direction: count for direction, count in away.items() if count > 0}


def _effect(move: Move) -> str:
    if move.direction is None:
        return f"{move.code} ran into the border."
    return f"{move.code} moved you {DIRECTIONS[move.direction]}."


def _state(task: LakeTask, here: Cell, left: int) -> str:
    """Where the goal is; on a lake with holes also where the agent is, and the holes next to it."""
    parts = [f"The goal is {', '.join(f'{count} {way}' for way, count in offsets(here, task.goal).items())}."]
    if task.holes:
        parts.insert(0, f"You are at {cell_name(here)}.")
        if holes := [DIRECTIONS[d] for d in range(4) if task.move(here, d) in task.holes]:
            parts.append(f"Hole{'s' if len(holes) > 1 else ''} next to you: {', '.join(holes)}.")
    return " ".join([*parts, f"{left} turn{'' if left == 1 else 's'} left."])
