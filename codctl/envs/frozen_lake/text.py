"""Every text of FrozenLake-Obscure; those of the terse rendering are in `terse`.

`compact` spends a few dozen tokens on an episode. It names cells like a chess board (row letter, column number) and
states what was seen as `direction=code`, one word and for a fitting tokenizer one token: recalling or noting a fact is
then one look back, which a model of two layers learns in minutes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from codctl.envs.base import Rendering
from codctl.envs.frozen_lake import terse
from codctl.envs.frozen_lake.names import CODES, DIRECTIONS, Cell, cell_name
from codctl.envs.solve_prompt import ReplyForm

if TYPE_CHECKING:
    from codctl.envs.frozen_lake.world import LakeEpisode, LakeTask, Move

_RULES = """\
You walk on a frozen lake, drawn as a grid. Reach the goal without stepping into a hole.

Symbols: A is you, G is the goal, O is a hole (stepping into it ends the task), and . is ice (safe to walk on).

Each turn you choose one of four action codes: K, Q, X or Z. Each code moves you one cell up, down, left or right. \
Which code moves which way is hidden, but it stays the same in every task of this series. A move against the border \
leaves you where you are.

Reaching the goal ends the task with reward 1; the fewer turns you use, the better. Falling into a hole, running out \
of turns, or a reply that cannot be read ends the task with reward 0.

Use your turns both to reach the goal and to find out what is hidden: what you find out helps you in the later tasks \
of this series."""
FORM = ReplyForm(
    ask="choose a code.",
    action="Q",
    thought="I have not tried Q yet, so I find out where it leads.",
    terse="<answer>CODE</answer>",
)


def rules(rendering: Rendering) -> str:
    return {"full": _RULES, "terse": terse.RULES, "compact": "lake"}[rendering]


def first_observation(task: LakeTask, rendering: Rendering) -> str:
    if rendering == "compact":
        holes = " ".join(cell_name(cell) for cell in sorted(task.holes))
        start = f"{cell_name(task.start)} > {cell_name(task.goal)} {task.max_turns}"
        return f"{start} holes {holes}" if holes else start
    if rendering == "terse":
        return terse.first_observation(task)
    return f"Turn 1 of {task.max_turns}. You have not moved yet.\n{_situation(task, task.start)}"


def next_observation(episode: LakeEpisode, move: Move) -> str:
    task, cell = episode.task, episode.cell
    if episode.rendering == "compact":
        left = episode.max_turns - episode.turns
        return f"{_pair(move)} {cell_name(cell)} > {cell_name(task.goal)} {left}"
    if episode.rendering == "terse":
        return terse.next_observation(episode, move)
    return f"Turn {episode.turns + 1} of {task.max_turns}. {_effect(move)}\n{_situation(task, cell)}"


def ending(episode: LakeEpisode, said: str) -> str:
    """The feedback; in full it also tells what the last move did, which no observation shows."""
    return f"{_effect(episode.moves[-1])} {said}" if episode.rendering == "full" else said


def transcript(episode: LakeEpisode) -> str:
    if episode.rendering == "compact":
        return " ".join(_pair(move) for move in episode.moves) or "none"
    if episode.rendering == "terse":
        return terse.transcript(episode)
    lines = [f"Task: {grid(episode.task, episode.task.start)}"]
    lines += [f"Turn {turn}: you answered {move.code}. {_effect(move)}" for turn, move in enumerate(episode.moves, 1)]
    return "\n".join(lines)


def grid(task: LakeTask, agent: Cell) -> str:
    """Rows of `.` ice, `O` hole, `G` goal, `A` agent, with where agent and goal are in words."""

    def mark(cell: Cell) -> str:
        if cell == agent:
            return "A"
        return "G" if cell == task.goal else "O" if cell in task.holes else "."

    rows = "\n".join(" ".join(mark((row, column)) for column in range(task.size)) for row in range(task.size))
    return (
        f"{_place('you are', agent)}, {_place('the goal is', task.goal)} (row 1 is the top, column 1 the left).\n{rows}"
    )


def hint_from(known: Mapping[int, str], rendering: Rendering) -> str:
    """Known facts (direction index → code) as a hint, in the order given."""
    if rendering == "compact":
        return " ".join(f"{DIRECTIONS[direction]}={code}" for direction, code in known.items()) or "none"
    if rendering == "terse":
        return terse.hint_from(known.items())
    lines = [f"- {code} moves {DIRECTIONS[direction]}." for direction, code in known.items()]
    return "\n".join(lines) or "Nothing is known for certain yet."


def reply(direction: str | None, code: str, rendering: Rendering) -> str:
    """A solve reply. In compact the intended direction may stand before the code: planning and recall are separate.

    A colon tells the intention from a fact: a wrong guess must not look like something seen.
    """
    if rendering == "compact":
        return f"<answer> {direction}: {code} </answer>" if direction else f"<answer> {code} </answer>"
    return f"<answer>{code}</answer>"


def read_action(action: str) -> str:
    """The code in an answer; a `direction:` before it is the agent's own note."""
    words = action.split()
    return words[1] if len(words) == 2 and words[0].removesuffix(":") in DIRECTIONS else action.strip()


_ANSWERED = re.compile(rf"\W*(?:(?:{'|'.join(DIRECTIONS)})\W+)?([{''.join(CODES)}])\b", re.IGNORECASE)


def answered(text: str) -> str:
    """The code with which an answer begins, in either case, whatever stands around it."""
    found = _ANSWERED.match(text)
    return found[1].upper() if found else text


def _pair(move: Move) -> str:
    return f"{'wall' if move.direction is None else DIRECTIONS[move.direction]}={move.code}"


def _effect(move: Move) -> str:
    before, after = (f"row {row + 1}, column {column + 1}" for row, column in (move.before, move.after))
    if move.direction is None:
        return f"Action {move.code} did not move you from {before}: the border is in the way."
    return f"Action {move.code} took you from {before} to {after}."


def _place(who: str, cell: Cell) -> str:
    return f"{who} at row {cell[0] + 1}, column {cell[1] + 1}"


def _situation(task: LakeTask, agent: Cell) -> str:
    drawn = grid(task, agent)
    return drawn[0].upper() + drawn[1:]
