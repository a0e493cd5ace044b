"""How a stage tells its watchers where it is, and how they can stop it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Protocol

from codctl.log import log, watching_only
from codctl.runs.heartbeat import Beat
from codctl.runs.pace import Paces, PlainDisplay

_NEWS_S = 2.0  # between two heartbeats that only count further


class Progress(Protocol):
    """Calls are cheap and never fail; a request to stop ends the stage from within them."""

    def update(self, phase: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
        """`done` of `total` units of a phase are finished; `metrics` are the newest numbers.

        A `total` of 0 says that the phase has begun and cannot count its units, or not yet.
        """

    def message(self, text: str) -> None:
        """Something that the user should read once. It is not a phase: `update` says what is being done."""


class Display(Progress, Protocol):
    """A display of progress that stays until it is closed."""

    def close(self) -> None: ...


class Unfailing:
    """Passes everything on to a display until that raises: the error is logged, and the display is left alone."""

    def __init__(self, progress: Progress) -> None:
        self._progress: Progress | None = progress

    def update(self, phase: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
        self._call(lambda shown: shown.update(phase, done, total, metrics))

    def message(self, text: str) -> None:
        self._call(lambda shown: shown.message(text))

    def _call(self, call: Callable[[Progress], None]) -> None:
        shown, self._progress = self._progress, None
        if shown is not None:
            with watching_only("the progress display"):
                call(shown)
                self._progress = shown


class Logged:
    """Passes everything on, and keeps it in the run's log: each message, and a line of progress every few seconds.

    Args:
        progress: What shows it elsewhere; None where nothing else shows it.
        every_s: Seconds between two lines of progress.
    """

    def __init__(self, progress: Progress | None, every_s: float) -> None:
        self._lines = PlainDisplay(every_s, lambda text: log.info("%s", text), stamped=False)
        self._watchers = [Unfailing(watcher) for watcher in (self._lines, progress) if watcher]

    def update(self, phase: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
        for watcher in self._watchers:
            watcher.update(phase, done, total, metrics)

    def message(self, text: str) -> None:
        for watcher in self._watchers:
            watcher.message(text)

    def close(self) -> None:
        with watching_only("the progress display"):
            self._lines.close()


class Beating:
    """Passes everything on, and lets a run's heartbeat say it: `codctl status` reads it there.

    Args:
        progress: What shows it elsewhere.
        beat: Of the attempt.
    """

    def __init__(self, progress: Progress, beat: Beat) -> None:
        self._progress, self._beat, self._paces = progress, beat, Paces(time.monotonic())
        self._said_s, self._phase = 0.0, ""
        beat.doing = self._doing

    def update(self, phase: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
        now_s, is_other = time.monotonic(), phase != self._phase
        self._phase = phase
        self._paces.update(phase, done, total, {}, now_s)
        if is_other or now_s >= self._said_s + _NEWS_S:
            self._said_s = now_s
            self._beat.now()
        self._progress.update(phase, done, total, metrics)

    def message(self, text: str) -> None:
        self._progress.message(text)

    def _doing(self) -> dict[str, object]:
        pace, now_s, inner = self._paces.current, time.monotonic(), self._paces.inner
        details = {"part": inner.phase if inner else "", "work": ", ".join((inner or pace).work_shown(now_s))}
        return {
            "phase": pace.phase,
            "done": pace.done,
            "total": pace.total,
            "left_s": pace.left_s(now_s),
            **{name: text for name, text in details.items() if text},
        }


class Stoppable:
    """Passes everything on, and looks for a request to stop at each report."""

    def __init__(self, progress: Progress, check: Callable[[], None]) -> None:
        self._progress, self._check = progress, check

    def update(self, phase: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
        self._progress.update(phase, done, total, metrics)
        self._check()

    def message(self, text: str) -> None:
        self._progress.message(text)
        self._check()


def of_arm(arm: str, means: Mapping[str, float]) -> dict[str, float]:
    """Newest means under the name of the arm that they are of: a display then shows each arm's."""
    return {f"{arm}/{name}": value for name, value in means.items()}
