"""How a stage tells whoever watches where it is."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Protocol


class Progress(Protocol):
    """Both calls are cheap and never fail."""

    def update(self, phase: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
        """`done` of `total` units of a phase are finished; `metrics` are the newest numbers."""

    def message(self, text: str) -> None:
        """Something that the user should read once."""


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
