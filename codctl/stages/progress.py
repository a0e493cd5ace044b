"""How a stage tells whoever watches where it is, and how whoever watches can stop it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Protocol


class Progress(Protocol):
    """Calls are cheap and never fail; a request to stop ends the stage from within them."""

    def update(self, phase: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
        """`done` of `total` units of a phase are finished; `metrics` are the newest numbers."""

    def message(self, text: str) -> None:
        """Something that the user should read once."""


class Display(Progress, Protocol):
    """A progress that somebody looks at until it is closed."""

    def close(self) -> None: ...


class Logged:
    """Passes everything on, and keeps messages and finished phases in the run's log file."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._log = logging.getLogger("codctl")

    def update(self, phase: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
        if done >= total:
            numbers = ", ".join(f"{name} {value:.4g}" for name, value in sorted(metrics.items()))
            self._log.info("%s: %d of %d done; %s", phase, done, total, numbers)
        self._progress.update(phase, done, total, metrics)

    def message(self, text: str) -> None:
        self._log.info("%s", text)
        self._progress.message(text)


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
