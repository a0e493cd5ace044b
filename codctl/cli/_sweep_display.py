"""Trials as they run: a small table in a terminal, plain lines elsewhere. Both go to stderr."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from codctl.cli import _output
from codctl.cli._status_text import curve
from codctl.log import watching_only
from codctl.runs.pace import clock
from codctl.sweeps.run import LineWatcher, Watcher
from codctl.tracking.jsonl import latest

if TYPE_CHECKING:
    from rich.console import Console, Group

    from codctl.runs.directory import RunDirectory

_LINE_EVERY_S = 30.0
_LOOK_EVERY_S = 2.0


@contextmanager
def open_watcher(runs: Sequence[RunDirectory]) -> Iterator[Watcher]:
    """Watch trials while the block runs."""
    watcher = _Live(len(runs)) if _output.use_live(sys.stderr) else _Lines(len(runs))
    try:
        yield _Unfailing(watcher)
    finally:
        with watching_only("the display of the sweep"):
            watcher.close()


class _Unfailing:
    """Passes everything on. What the display raises is logged: the trials go on."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher

    def changed(self, run: Path, what: int | Literal["started"]) -> None:
        with watching_only("the display of the sweep"):
            self._watcher.changed(run, what)

    def say(self, text: str) -> None:
        with watching_only("the display of the sweep"):
            self._watcher.say(text)


class _Running:
    """The trials that run now, since when, and where each of them is."""

    def __init__(self) -> None:
        self._since_s: dict[Path, float] = {}
        self._lock = threading.Lock()

    def changed(self, run: Path, what: int | Literal["started"]) -> None:
        with self._lock:
            if what == "started":
                self._since_s[run] = time.monotonic()
            else:
                self._since_s.pop(run, None)

    def rows(self) -> list[tuple[str, str, str, str]]:
        """Name, time so far, phase and step, newest success by position."""
        with self._lock:
            since = dict(self._since_s)
        rows = []
        for run, since_s in since.items():
            newest = latest(run / "metrics.jsonl")
            phase = f"{newest.phase} step {newest.step}" if newest.phase else "starting"
            success = curve(newest.success)
            rows.append((run.name, clock(time.monotonic() - since_s), phase, success))
        return rows


class _Lines(LineWatcher):
    """Lines for starts and ends, and one now and then in between, so that a log shows that the sweep lives."""

    def __init__(self, total: int) -> None:
        super().__init__(total, _output.talk)
        self._running = _Running()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="sweep progress", daemon=True)
        self._thread.start()

    def changed(self, run: Path, what: int | Literal["started"]) -> None:
        super().changed(run, what)
        self._running.changed(run, what)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _tick(self) -> None:
        while not self._stop.wait(_LINE_EVERY_S):
            for name, so_far, phase, success in self._running.rows():
                _output.talk(f"  {name}: {so_far}, {phase}{', success ' + success if success else ''}")


class _Live:
    """A table that stays at the bottom of the terminal."""

    def __init__(self, total: int) -> None:
        from codctl.cli import _rich

        self._total, self._begun_s = total, time.monotonic()
        self._ended = 0
        self._running = _Running()
        self._rows: list[tuple[str, str, str, str]] = []
        self._looked_s = float("-inf")
        self._live = _rich.Display(sys.stderr, self._draw, refresh_per_second=2, transient=True)
        self._lines = LineWatcher(total, self._live.say)
        self._live.start()

    def changed(self, run: Path, what: int | Literal["started"]) -> None:
        self._running.changed(run, what)
        self._lines.changed(run, what)
        self._ended += what != "started"
        self._looked_s = float("-inf")

    def say(self, text: str) -> None:
        self._live.say(text)

    def close(self) -> None:
        self._live.stop()

    def _draw(self, _console: Console) -> Group:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        from codctl.cli._rich import word

        now_s = time.monotonic()
        if now_s - self._looked_s >= _LOOK_EVERY_S:
            self._rows, self._looked_s = self._running.rows(), now_s
        head = Table.grid(padding=(0, 2))
        head.add_row(
            word("trials", style="bold"),
            ProgressBar(total=self._total, completed=self._ended, width=30),
            word(f"{self._ended}/{self._total}"),
            word(f"{clock(now_s - self._begun_s)} so far", style="dim"),
        )
        table = Table.grid(padding=(0, 2))
        for name, so_far, phase, success in self._rows:
            table.add_row(word(name), word(so_far, style="dim"), word(phase), word(success))
        return Group(head, table)
