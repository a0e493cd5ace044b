"""Live progress in a terminal, plain lines elsewhere. Both go to stderr."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from codctl.cli import _output

if TYPE_CHECKING:
    from rich.console import Group

_SPARKS = "▁▂▃▄▅▆▇█"
_REWARD = "reward/position_"
_SPARK_WIDTH = 40


class Display(Protocol):
    """What a stage reports to."""

    def update(self, phase: str, done: int, total: int, metrics: Mapping[str, float]) -> None: ...

    def message(self, text: str) -> None: ...


@dataclass
class Pace:
    """How far the current phase is and how fast it goes."""

    phase: str = "starting"
    done: int = 0
    total: int = 0
    started_s: float = 0.0
    first_done: int = 0  # a resumed phase does not start at 0
    changed_s: float = 0.0
    rewards: dict[int, list[float]] = field(default_factory=dict)  # position → history

    def update(self, phase: str, done: int, total: int, metrics: Mapping[str, float], now_s: float) -> None:
        if phase != self.phase:
            self.phase, self.started_s, self.first_done = phase, now_s, done
        if not self.started_s:
            self.started_s = now_s
        self.done, self.total, self.changed_s = done, total, now_s
        for name, value in metrics.items():
            if name.startswith(_REWARD):
                self.rewards.setdefault(int(name.removeprefix(_REWARD)), []).append(value)

    def seconds_each(self, now_s: float) -> float | None:
        count = self.done - self.first_done
        return (self.changed_s - self.started_s) / count if count > 0 and now_s > self.started_s else None

    def left_s(self, now_s: float) -> float | None:
        each = self.seconds_each(now_s)
        if each is None or not self.total:
            return None
        return max(0.0, each * (self.total - self.done) - (now_s - self.changed_s))

    def line(self, now_s: float) -> str:
        """One line of text: stage, count, rate, time left, latest reward by position."""
        parts = [f"{self.phase} {self.done}/{self.total}" if self.total else self.phase]
        each, left = self.seconds_each(now_s), self.left_s(now_s)
        if each is not None:
            parts.append(rate(each))
        if left is not None and self.done < self.total:
            parts.append(f"{clock(left)} left")
        if self.rewards:
            parts.append("reward " + " ".join(f"{self.rewards[p][-1]:.2f}" for p in sorted(self.rewards)))
        return ", ".join(parts)


def rate(seconds_each: float) -> str:
    """`3.6 s each`, or `12.0/s` when it is fast."""
    return f"{seconds_each:.1f} s each" if seconds_each >= 1 else f"{1 / max(seconds_each, 1e-9):.1f}/s"


def clock(seconds: float) -> str:
    """Hours, minutes and seconds: 1:02:03 or 2:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def sparkline(values: list[float], top: float = 1.0) -> str:
    """The last values as bars between 0 and `top`."""
    last = values[-_SPARK_WIDTH:]
    return "".join(_SPARKS[min(len(_SPARKS) - 1, max(0, int(value / top * len(_SPARKS))))] for value in last)


class PlainDisplay:
    """One line every few seconds, also when nothing moves, so that a log shows that the process lives."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._begun_s = self._said_s = time.monotonic()
        self._pace = Pace()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="progress", daemon=True)
        self._thread.start()

    def update(self, phase: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
        now_s = time.monotonic()
        with self._lock:
            begins, ends = phase != self._pace.phase, bool(total) and done >= total
            moved = begins or done != self._pace.done
            self._pace.update(phase, done, total, metrics, now_s)
            if moved and (begins or ends):
                self._say(now_s)

    def message(self, text: str) -> None:
        with self._lock:
            _output.talk(f"[{clock(time.monotonic() - self._begun_s)}] {text}")

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _tick(self) -> None:
        while not self._stop.wait(max(0.01, self._said_s + self._every_s - time.monotonic())):
            with self._lock:
                now_s = time.monotonic()
                if now_s - self._said_s >= self._every_s:
                    self._say(now_s)

    def _say(self, now_s: float) -> None:
        quiet_s = now_s - self._pace.changed_s if self._pace.changed_s else now_s - self._begun_s
        waiting = f", no progress for {clock(quiet_s)}" if quiet_s >= self._every_s else ""
        _output.talk(f"[{clock(now_s - self._begun_s)}] {self._pace.line(now_s)}{waiting}")
        self._said_s = now_s


class LiveDisplay:
    """A small panel that stays at the bottom of the terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._pace = Pace()
        self._begun_s = time.monotonic()
        self._live = Live(
            get_renderable=self._draw, console=Console(stderr=True), refresh_per_second=4, transient=True
        )
        self._live.start()

    def update(self, phase: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
        now_s = time.monotonic()
        if phase != self._pace.phase and self._pace.changed_s:
            self.message(f"{self._pace.phase}: {clock(now_s - self._pace.started_s)}")
        self._pace.update(phase, done, total, metrics, now_s)

    def message(self, text: str) -> None:
        self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        self._live.stop()

    def _draw(self) -> Group:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        pace, now_s = self._pace, time.monotonic()
        head = Table.grid(padding=(0, 2))
        each, left = pace.seconds_each(now_s), pace.left_s(now_s)
        head.add_row(
            Text(pace.phase, style="bold"),
            ProgressBar(total=pace.total or None, completed=pace.done, width=30, pulse=not pace.total),
            Text(f"{pace.done}/{pace.total}" if pace.total else ""),
            Text(rate(each) if each is not None else ""),
            Text(f"{clock(left)} left" if left is not None else ""),
            Text(f"{clock(now_s - self._begun_s)} so far", style="dim"),
        )
        if not pace.rewards:
            return Group(head)
        rewards = Table.grid(padding=(0, 2))
        for position in sorted(pace.rewards):
            history = pace.rewards[position]
            rewards.add_row(
                Text(f"position {position}", style="dim"), Text(f"{history[-1]:.2f}"), Text(sparkline(history))
            )
        return Group(head, rewards)


class _LogToDisplay(logging.Handler):
    """Warnings of codctl's own log appear between the progress lines."""

    def __init__(self, display: Display) -> None:
        super().__init__(logging.WARNING)
        self._display = display

    def emit(self, record: logging.LogRecord) -> None:
        self._display.message(f"{record.levelname.lower()}: {record.getMessage()}")


@contextmanager
def open_display(every_s: float) -> Iterator[Display]:
    """Show progress while the block runs."""
    display = LiveDisplay() if _output.use_live(sys.stderr) else PlainDisplay(every_s)
    handler = _LogToDisplay(display)
    log = logging.getLogger("codctl")
    log.addHandler(handler)
    try:
        yield display
    finally:
        log.removeHandler(handler)
        display.close()
