"""What is shown while a pack is played, and how the game went."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from typing import Literal

from codctl.cli import _output
from codctl.envs.base import Pack
from codctl.envtools.play import Game
from codctl.quantities import counted

_WIDEST = 100  # columns in which sentences still read well
_HARD_WRAPPED, _PROMPT_COLUMNS = 100, 120  # a line of a prompt of such a length goes on in the next
_COLOURS = {"bold": "1", "red": "31", "green": "32"}
_BOARD = re.compile(r"\S(?: \S)*")


def shower(pack: Pack, say: Callable[[str], None], *, to_stderr: bool) -> Callable[[str], None]:
    """How texts of a game are shown: wrapped to the terminal, boards in colour.

    Args:
        pack: What is played.
        say: Prints.
        to_stderr: Where it prints.
    """
    stream = sys.stderr if to_stderr else sys.stdout
    columns = _output.terminal_columns(stream)
    if columns is None:
        return say
    marks = {mark: colour for slot in pack.slots for mark, colour in slot.family.colours.items()}
    if not _output.use_colour(stream):
        marks = {}
    width = min(columns, _WIDEST)
    return lambda text: say("\n".join(_painted(line, marks) for line in _wrapped(text, width)))


def _wrapped(text: str, columns: int) -> list[str]:
    return _output.wrapped("\n".join(_joined(text)), columns).split("\n")


def _joined(text: str) -> Iterator[str]:
    """Lines of a prompt, with those put together again that are one sentence over several lines."""
    held = ""
    for line in text.split("\n"):
        whole = f"{held} {line.lstrip()}" if held and line else line
        if held and not line:
            yield held
        held = ""
        if _HARD_WRAPPED <= len(line) <= _PROMPT_COLUMNS and line[-1] not in ".:":
            held = whole
        else:
            yield whole
    if held:
        yield held


def _painted(line: str, marks: dict[str, str]) -> str:
    if not marks or not _BOARD.fullmatch(line) or not set(line) <= {*marks, ".", " "}:
        return line
    return "".join(_output.styled(c, _COLOURS[marks[c]]) if c in marks else c for c in line)


def told(game: Game, pack: Pack, rendering: Literal["full", "terse", "compact"]) -> str:
    """Curve and score at the end of a game."""
    truths = {id(slot.world): slot.family.truth(slot.world, rendering) for slot in pack.slots}
    lines = [f"The hidden facts were: {_on_one_line(truth) or 'none'}" for truth in truths.values()]
    shown = _output.prose("\n".join(lines))
    if not game.played:
        return f"\n{shown}\n\nYou stopped before the end of the first task: no score."
    is_graded = any(slot.family.graded for slot in pack.slots)
    ceiling = "reward of a reference" if is_graded else "ceiling"
    rows: list[list[object]] = [
        ["success", *game.success],
        ["reward (less the turn penalty)" if is_graded else "reward (success less the turn penalty)", *game.reward],
        ["hints: share of the knowable facts", *game.hint_correctness],
        *([f"{ceiling}: {name}", *values] for name, values in game.ceilings.items()),
    ]
    table = _output.table(["", *(f"task {position + 1}" for position in range(len(pack)))], rows)
    stopped = "" if game.finished else f" (over {game.played} of {counted(len(pack), 'task')}: stopped early)"
    return f"\n{shown}\n\n{table}\n\nscore: {game.score:.2f}{stopped}"


def _on_one_line(truth: str) -> str:
    return " ".join(line.removeprefix("- ") for line in truth.splitlines())
