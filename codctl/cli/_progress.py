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
from codctl.log import log
from codctl.stages.pace import Paces, PlainDisplay, clock, rate, sparkline
from codctl.stages.progress import Display

if TYPE_CHECKING:
    from rich.console import Group


class LiveDisplay:
    """A small panel that stays at the bottom of the terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._paces = Paces(time.monotonic())
        console = Console(stderr=True)
        self._live = Live(get_renderable=self._draw, console=console, refresh_per_second=4, transient=True)
        self._live.start()

    def update(self, phase: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
        now_s = time.monotonic()
        if self._paces.update(phase, done, total, metrics, now_s) and done >= total:
            self._print(self._paces.current.line(now_s), now_s)

    def message(self, text: str) -> None:
        now_s = time.monotonic()
        self._paces.note(text, now_s)
        self._print(text, now_s)

    def _print(self, text: str, now_s: float) -> None:
        passed = clock(now_s - self._paces.begun_s)
        self._live.console.print(f"[{passed}] {text}", markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        self._live.stop()

    def _draw(self) -> Group:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        now_s = time.monotonic()
        pace = self._paces.current
        each, left = pace.seconds_each(), pace.left_s(now_s)
        head = Table.grid(padding=(0, 2))
        head.add_row(
            Text(pace.phase, style="bold"),
            ProgressBar(total=pace.total or None, completed=pace.done, width=30, pulse=not pace.total),
            Text(f"{pace.done}/{pace.total}" if pace.total else ""),
            Text(rate(each) if each is not None else ""),
            Text(f"{clock(left)} left" if left is not None else ""),
            Text(f"{clock(now_s - self._paces.begun_s)} so far", style="dim"),
        )
        curves = Table.grid(padding=(0, 2))
        for name, numbers, history in pace.rows():
            curves.add_row(Text(name, style="dim"), Text(numbers), Text(sparkline(history)))
        return Group(head, curves) if pace.curves else Group(head)


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
    display = LiveDisplay() if _output.use_live(sys.stderr) else PlainDisplay(every_s, _output.talk)
    handler = _LogToDisplay(display)
    log.addHandler(handler)
    try:
        with redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.showwarning = _log_warning
            yield display
    finally:
        log.removeHandler(handler)
        display.close()


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
