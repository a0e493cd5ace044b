"""Every text of Grid Navigation. Cells are `row,column` from 0, in `compact` `a1` with costs in tens."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from codctl.envs.base import Rendering
from codctl.envs.grid_navigation.names import ROWS, Cell, Costs, cell_name, tens
from codctl.envs.grid_navigation.presets import Preset
from codctl.envs.solve_prompt import ReplyForm

if TYPE_CHECKING:
    from codctl.envs.grid_navigation.world import GridEpisode, Move

_RULES = """\
You cross a square grid. Entering a cell costs between 0 and 99. Reach the target in the given number of rounds, over \
cells that cost little.

Each round you move to another cell in your row or your column, as far as you like. You enter every cell on the way \
and the cell where you stop, but not the one that you leave. A cell that you enter again costs again. You must use all \
rounds: only where you are after the last one counts, and passing the target earlier does no harm.

If you end on the target, the reward is 1 - (mean cost of all cells that you entered) / 100; a long way over cheap \
cells is therefore better than a short one over dear cells. If you end elsewhere, the reward is 0. A reply that cannot \
be read and a move that is not allowed (out of the grid, not along your row or column, or none at all) end the task \
with reward 0.

Costs are hidden at first. {reveal} The grid is the same in every task of this series; start, target and \
number of rounds change. Near cells often cost alike.{memory}

Spend early rounds and early tasks on cells that you do not know, and use in later tasks what you found out."""
FORM = ReplyForm(
    ask="choose a cell. Rows and columns are counted from 0.",
    action="3,7",
    thought="Row 3 is cheap up to column 7, so I move there.",
    inside=" with row and column of the cell",
    terse="the cell where you go, such as <answer>3,1</answer>",
)
_REVEAL = {
    0: "You learn the cost of each cell that you enter.",
    1: "You learn the costs of each cell that you enter and of the eight around it.",
}
_REVEAL_FAR = "You learn the costs of each cell that you enter and of all cells up to {radius} rows and columns away."
_MEMORY = " All costs that you have seen in this series stay on the map that you are shown."

_RULES_TERSE = """\
You cross a grid of cells (row,column), counted from 0. Their costs, 0 to 99, are hidden but stay the same in later \
tasks. Each round you move along your row or column and enter every cell on the way. After the last round you must be \
on the target. Reward: 1 - mean cost / 100.{memory}"""
_MEMORY_TERSE = " Costs seen in earlier tasks are shown."


def rules(rendering: Rendering, preset: Preset, *, remembers: bool) -> str:
    if rendering == "compact":
        return "grid"
    if rendering == "terse":
        return _RULES_TERSE.format(memory=_MEMORY_TERSE if remembers else "")
    reveal = _REVEAL.get(preset.radius, _REVEAL_FAR.format(radius=preset.radius))
    return _RULES.format(reveal=reveal, memory=_MEMORY if remembers else "")


def first_observation(episode: GridEpisode) -> str:
    if episode.rendering == "full":
        return f"Round 1 of {episode.max_turns}. You have not moved yet.\n{_situation(episode)}"
    place = _place(episode)
    if not episode.carried:
        return place
    known = _pairs(sorted(episode.carried), episode.known, episode.rendering)
    return f"{place} known {known}" if episode.rendering == "compact" else f"{place} Known costs: {known}."


def next_observation(episode: GridEpisode) -> str:
    move = episode.moves[-1]
    if episode.rendering == "full":
        return f"Round {episode.turns + 1} of {episode.max_turns}. {_effect(episode)}\n{_situation(episode)}"
    return f"{_shown(episode, move)} {_place(episode)}".strip()


def ending(episode: GridEpisode, reward: float) -> str:
    """The feedback of a walk that used all its rounds; in full it also shows the map and the last move."""
    goal, rendering = episode.task.goal, episode.rendering
    if reward > 0:
        said = (
            f"You reached the target after {_rounds(episode.max_turns)} with a mean cost of {episode.mean_cost:.4g}; "
            f"the reward is {reward:.4f}."
        )
    else:
        said = (
            f"You ended at {_at(episode.cell, rendering)}, not on the target {_at(goal, rendering)}; the reward is 0."
        )
    return f"{known_map(episode)}\n{_effect(episode)} {said}" if rendering == "full" else said


def illegal(episode: GridEpisode, end: Cell, problem: str) -> str:
    said = f"The move from {_at(episode.cell, episode.rendering)} to {_at(end, episode.rendering)} is not allowed: "
    said = f"{said}{problem}. The task ends with reward 0."
    return f"{known_map(episode)}\n{said}" if episode.rendering == "full" else said


def transcript(episode: GridEpisode) -> str:
    """In compact what the task revealed, which is all that a hint can use."""
    if episode.rendering != "full":
        return " ".join(filter(None, (_shown(episode, move) for move in episode.moves))) or "none"
    task = episode.task
    lines = [f"Task: from {_cell(task.start)} to {_cell(task.goal)} in {_rounds(task.rounds)}."]
    lines += [f"Round {number}: {_moved(move)}" for number, move in enumerate(episode.moves, 1)]
    return "\n".join([*lines, known_map(episode)])


def known_map(episode: GridEpisode) -> str:
    return f"Known costs (? is unknown):\n{table(episode.known, episode.side)}"


def table(known: Costs, side: int) -> str:
    """The map with labels of rows and columns."""
    columns = range(side)
    rows = [(f"{row:>2}", [str(known.get((row, column), "?")) for column in columns]) for row in columns]
    return "\n".join(f"{label} |{''.join(f'{entry:>3}' for entry in row)}" for label, row in [("  ", columns), *rows])


def hint_from(known: Costs, side: int, rendering: Rendering) -> str:
    """Known costs as a hint, in the order given; in full as a map."""
    if not known:
        return {"compact": "none", "terse": "Nothing noted yet."}.get(rendering, "No cost is known yet.")
    return f"Costs:\n{table(known, side)}" if rendering == "full" else _pairs(known, known, rendering)


def reply(cell: Cell, rendering: Rendering) -> str:
    if rendering == "compact":
        return f"<answer> {cell_name(cell)} </answer>"
    return f"<answer>{cell[0]},{cell[1]}</answer>"


_NUMBER = r"(-?[0-9]{1,6})"
_ACTION = re.compile(rf"\s*{_NUMBER}\s*,\s*{_NUMBER}\s*")
_NAME = re.compile(rf"\s*([{ROWS}])([0-9]{{1,3}})\s*")
_ANSWERED = re.compile(
    rf"[\W_]*?(?:row\W*)?{_NUMBER}(?:\W*col(?:umn)?\W*|\s*[,;:/]\s*|\s+){_NUMBER}[\W_]*", re.IGNORECASE
)


def read_action(action: str, rendering: Rendering) -> Cell | None:
    """The cell in an answer, which may be outside the grid; None if there is none."""
    if rendering == "compact":
        found = _NAME.fullmatch(action)
        return (ROWS.index(found[1]), int(found[2]) - 1) if found else None
    found = _ACTION.fullmatch(action)
    return (int(found[1]), int(found[2])) if found else None


def answered(action: str, rendering: Rendering) -> str:
    """A cell as a model may write it: with brackets, Markdown, or the words row and column."""
    found = _ANSWERED.fullmatch(action) if rendering != "compact" and len(action) < 100 else None
    return f"{found[1]},{found[2]}" if found else action


def form(rendering: Rendering) -> str:
    return "row letter and column number, such as b4" if rendering == "compact" else "row,column, such as 3,7"


def _situation(episode: GridEpisode) -> str:
    return f"You are at {_cell(episode.cell)}, the target is {_cell(episode.task.goal)}.\n{known_map(episode)}"


def _place(episode: GridEpisode) -> str:
    goal, left = episode.task.goal, episode.max_turns - episode.turns
    if episode.rendering == "compact":
        return f"{cell_name(episode.cell)} > {cell_name(goal)} {left}"
    return f"You are at {_cell(episode.cell)}, the target is {_cell(goal)}, {_rounds(left)} left."


def _shown(episode: GridEpisode, move: Move) -> str:
    """What the agent did not know before the move."""
    return _pairs(move.revealed, episode.known, episode.rendering)


def _pairs(cells: Iterable[Cell], costs: Costs, rendering: Rendering) -> str:
    if rendering == "compact":
        return " ".join(f"{cell_name(cell)}={tens(costs[cell])}" for cell in cells)
    return " ".join(f"{_cell(cell)}={costs[cell]}" for cell in cells)


def _effect(episode: GridEpisode) -> str:
    return f"{_moved(episode.moves[-1])} The entered cells cost {episode.total} so far."


def _moved(move: Move) -> str:
    entered = ", ".join(f"{_cell(cell)} costs {cost}" for cell, cost in move.entered)
    return f"You moved to {_cell(move.end)} and entered: {entered}."


def _cell(cell: Cell) -> str:
    return f"({cell[0]},{cell[1]})"


def _at(cell: Cell, rendering: Rendering) -> str:
    return cell_name(cell) if rendering == "compact" and min(cell) >= 0 and cell[0] < len(ROWS) else _cell(cell)


def _rounds(count: int) -> str:
    return f"{count} round{'' if count == 1 else 's'}"
