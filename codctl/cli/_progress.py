"""Live progress in a terminal, plain lines elsewhere. Both go to stderr."""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING

from codctl.cli import _output
from codctl.log import log, watching_only
from codctl.runs.pace import Pace, Paces, PlainDisplay, clock, rate, sparkline
from codctl.runs.progress import Display

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.table import Table


_WIDEST_BAR, _SHORTEST_LABEL = 30, 20


class LiveDisplay:
    """A small panel that stays at the bottom of the terminal."""

    def __init__(self) -> None:
        from codctl.cli import _rich

        self._paces = Paces(time.monotonic())
        self._live = _rich.Display(sys.stderr, self._draw, refresh_per_second=4, transient=True)
        self._live.start()

    def update(self, phase: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
        now_s = time.monotonic()
        pace = self._paces.update(phase, done, total, metrics, now_s)
        if pace and pace.has_ended:
            self._print(pace.line(now_s), now_s)

    def message(self, text: str) -> None:
        self._print(text, time.monotonic())

    def _print(self, text: str, now_s: float) -> None:
        passed = clock(now_s - self._paces.begun_s)
        self._live.say(f"[{passed}] {text}")

    def close(self) -> None:
        self._live.stop()

    def _draw(self, console: Console) -> Group:
        from rich.console import Group
        from rich.table import Table

        from codctl.cli._rich import word

        now_s = time.monotonic()
        pace = self._paces.current
        curves = Table.grid(padding=(0, 2))
        for name, numbers, history in pace.rows():
            cells = (word(name, style="dim"), word(numbers), word(sparkline(history)))
            curves.add_row(*cells)
        inner = [word(self._paces.inner.line(now_s), no_wrap=True)] if self._paces.inner else []
        return Group(_head(pace, self._paces, now_s, console.width), *inner, *([curves] if pace.curves else []))


def _head(pace: Pace, paces: Paces, now_s: float, columns: int) -> Table:
    """Phase, bar, count, rate and times on one line. What does not fit is left out, from the right, then cut."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    from codctl.cli._rich import word

    each, left = pace.seconds_each(), pace.left_s(now_s)
    so_far = f"{clock(now_s - paces.begun_s)} so far"
    fields = [f"{pace.done}/{pace.total}"] if pace.total else []
    if each is not None and left is not None:
        fields += [f"{clock(left)} left", rate(each)]
    bar = min(_WIDEST_BAR, columns // 6)
    while (room := columns - bar - 2 - sum(len(field) + 2 for field in [*fields, so_far])) < _SHORTEST_LABEL and fields:
        fields.pop()
    head = Table.grid(padding=(0, 2))
    head.add_row(
        word(_output.shorten(pace.phase, max(room, 0)), style="bold", no_wrap=True),
        ProgressBar(total=pace.total or None, completed=pace.done, width=bar, pulse=not pace.total),
        *(word(field, no_wrap=True) for field in fields),
        word(so_far, style="dim", no_wrap=True),
    )
    return head


class _LogToDisplay(logging.Handler):
    """Warnings of codctl's own log appear between the progress lines."""

    def __init__(self, display: Display) -> None:
        super().__init__(logging.WARNING)
        self._display = display

    def emit(self, record: logging.LogRecord) -> None:
        self._display.message(f"{record.levelname.lower()}: {record.getMessage()}")


@contextmanager
def open_display(every_s: float) -> Iterator[Display]:
    """Show progress while the block runs. What libraries print or warn of meanwhile stays out of stdout."""
    display = _display(every_s)
    handler = _LogToDisplay(display)
    log.addHandler(handler)
    try:
        with redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.showwarning = _log_warning
            yield display
    finally:
        log.removeHandler(handler)
        with watching_only("the progress display"):
            display.close()


def _display(every_s: float) -> Display:
    if _output.use_live(sys.stderr):
        with watching_only("the live display"):
            return LiveDisplay()
    return PlainDisplay(every_s, _output.talk)


def _log_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: object = None,
    line: object = None,
) -> None:
    """A library's warning goes to the run's log: users can rarely act on it."""
    log.info("%s:%d: %s: %s", filename, lineno, category.__name__, message)
