"""The only file that prints. stdout is data, stderr is talk; JSON is never wrapped.

Nothing that it prints acts on the terminal but the styles that codctl sets itself (`codctl.safe_text`).
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, TextIO

from codctl.cli._table import GAP, lay_out
from codctl.cli._table import wrapped as wrapped
from codctl.errors import CodctlError, Problem
from codctl.quantities import number
from codctl.safe_text import visible, visible_line

if TYPE_CHECKING:
    from rich.text import Text

SCHEMA = 1
_LEAST_COLUMNS = 12
_STATUS_COLUMNS = ("status", "outcome")
_STATUS_COLOURS = dict.fromkeys(("failed", "died", "unreadable"), "31") | {"running": "32"}
_BOLD_RED, _DIM, _BOLD = "1;31", "2", "1"
# Stands for the escape character in styles of our own, up to the exit. No file can hold it: it differs each time.
_ESCAPE = "".join(chr(0xF0000 + byte) for byte in os.urandom(8))


def data(text: str) -> None:
    """What the user asked for.

    Raises:
        CodctlError: Stdout cannot be written: disk full and the like.
        ReaderLeft: Its reader has closed it (`codctl.startup`).
    """
    try:
        _write(sys.stdout, text)
    except OSError as error:
        raise CodctlError(f"the output cannot be written: {error.strerror}", where="stdout") from error


def paged(text: Text) -> None:
    """What the user asked for, where it is long: in a terminal in colour and, if it does not fit, through a pager."""
    if not sys.stdout.isatty():
        data(text.plain)
        return
    from codctl.cli import _rich

    console = _rich.console(sys.stdout)
    if text.plain.count("\n") + 1 < console.height:
        console.print(text, soft_wrap=True)
        return
    os.environ.setdefault("LESS", "-RF")  # what a pager needs to show colour
    with redirect_stdout(console.file), console.pager(styles=use_colour(sys.stdout)):
        console.print(text, soft_wrap=True)


def talk(text: str) -> None:
    """Everything else. It never fails (`codctl.startup`)."""
    _write(sys.stderr, text)


def ask(prompt: str, say: Callable[[str], None] = data) -> str | None:
    """Ask a person; None when they have left, also by Ctrl-C. With `talk` the question goes to stderr."""
    try:
        if say is data:
            if sys.stdin.isatty():
                with suppress(ImportError):  # not everywhere; it gives `input` editing and a history
                    import readline  # noqa: F401
            return input(visible(prompt))
        say(prompt)
        return input()
    except (EOFError, KeyboardInterrupt):
        say("")
        return None


def agrees(what: str, *, as_json: bool) -> bool:
    """Whether the user agrees to something that cannot be undone; without a terminal the answer is no."""
    if as_json or not sys.stdin.isatty():
        return False
    return (ask(f'{what} Type "yes": ', talk) or "").strip() == "yes"


def result(command: str, value: Mapping[str, Any], text: str, *, as_json: bool) -> None:
    """Print the outcome of a command: one JSON object, or text for people."""
    if as_json:
        data(_dumps({"schema": SCHEMA, "command": command, "result": value}))
    elif text:
        data(text)


def failure(command: str, error: CodctlError, *, as_json: bool) -> None:
    """Print an error: one message on stderr, or one JSON object on stdout."""
    if as_json:
        body = {
            "kind": error.kind,
            "message": error.message,
            "hint": error.hint,
            "where": error.where,
            "problems": [vars(problem) for problem in error.problems],
        }
        data(_dumps({"schema": SCHEMA, "command": command, "error": body}))
        return
    talk(_styled("error: ", _BOLD_RED) + _one(Problem(error.message, error.where, error.hint), ""))
    if len(error.problems) > 1 or not _repeats(error):
        for problem in error.problems:
            talk("  " + _one(problem, "  "))


def table(headers: Sequence[str], rows: Sequence[Sequence[object]], *, cut_last: bool = False) -> str:
    """Align columns: numbers right, text left. In a terminal, cells are wrapped so that the table fits.

    Args:
        headers: Of the columns.
        rows: Values.
        cut_last: Keep each row on one line: in a terminal, cut the last column to what fits.
    """
    headers = [_cell(header) for header in headers]
    cells = [[_cell(value) for value in row] for row in rows]
    columns = terminal_columns()
    if cut_last and columns is not None:
        widths = [max(map(len, column)) for column in zip(headers, *cells, strict=True)]
        room = max(columns - sum(widths[:-1]) - GAP * (len(widths) - 1), _LEAST_COLUMNS)
        cells = [[*row[:-1], shorten(row[-1], room)] for row in cells]
    right = [all(isinstance(row[i], int | float | None) for row in rows) and bool(rows) for i in range(len(headers))]
    return lay_out(headers, cells, right, columns, bold, _painter(headers))


def _painter(headers: Sequence[str]) -> Callable[[int, str], str]:
    """Colours the words in the columns that say how something stands."""

    def paint(column: int, text: str) -> str:
        code = _STATUS_COLOURS.get(text.strip().partition(":")[0]) if headers[column] in _STATUS_COLUMNS else None
        return _styled(text, code, sys.stdout) if code else text

    return paint


def moment(iso: object) -> str:
    """A moment in local time: 2026-11-27 18:04."""
    try:
        return datetime.fromisoformat(str(iso)).astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return ""


def facts(rows: Sequence[tuple[str, str]]) -> str:
    """Labels and what they say, a line each; in a terminal, wrapped beside the label."""
    label = max((len(name) for name, _ in rows), default=0) + GAP
    columns = terminal_columns()
    return "\n".join(wrapped(f"{name.ljust(label)}{text}", columns, " " * label) for name, text in rows)


def prose(text: str) -> str:
    """Text wrapped to the terminal, line by line."""
    return wrapped(text, terminal_columns())


def ago(seconds: float) -> str:
    """A time span, roughly: 5 min."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def bold(text: str) -> str:
    """Text that stands out on stdout, where there is colour."""
    return _styled(text, _BOLD, sys.stdout)


def styled(text: str, code: str) -> str:
    """Text in a style, by the numbers that terminals have for it."""
    return f"{_ESCAPE}[{code}m{text}{_ESCAPE}[0m"


def compact(value: object) -> str:
    """A value on one line, as JSON writes it."""
    return json.dumps(value, ensure_ascii=False, default=str)


def terminal_columns(stream: TextIO | None = None) -> int | None:
    """Columns of the terminal that a stream (stdout by default) goes to; None when it goes elsewhere."""
    return shutil.get_terminal_size().columns if (stream or sys.stdout).isatty() else None


def shorten(text: str, length: int) -> str:
    return text if len(text) <= length else text[: max(length - 1, 0)] + "…"


def use_colour(stream: TextIO) -> bool:
    """Colour in a terminal only, unless NO_COLOR or FORCE_COLOR say otherwise."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def use_live(stream: TextIO) -> bool:
    """Whether the stream can redraw lines."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def shown(text: str) -> str:
    """What is written of a text: everything of others shown, styles of our own obeyed."""
    return visible(text).replace(_ESCAPE, "\033")


def own_styles(text: str) -> str:
    """Text with escape sequences that codctl has set itself, as the functions here take it."""
    return text.replace("\033", _ESCAPE)


def _write(stream: TextIO, text: str) -> None:
    getattr(stream, "write_own", stream.write)(shown(text) + "\n")
    stream.flush()


def _repeats(error: CodctlError) -> bool:
    return any(problem.message == error.message for problem in error.problems)


def _one(problem: Problem, indent: str) -> str:
    text = f"{visible_line(problem.where)}: {problem.message}" if problem.where else problem.message
    return text + (_styled(f"\n{indent}  → {problem.hint}", _DIM) if problem.hint else "")


def _styled(text: str, code: str, stream: TextIO | None = None) -> str:
    return styled(text, code) if use_colour(stream or sys.stderr) else text


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return number(value)
    return " / ".join(visible(str(value)).splitlines()).expandtabs(1)


def _dumps(value: Mapping[str, Any]) -> str:
    # All but ASCII is escaped by itself; so is ASCII but this one character.
    return json.dumps(_plain(value), allow_nan=False).replace("\x7f", "\\u007f")


def _plain(value: Any) -> Any:
    """JSON knows no NaN and no infinity."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)
