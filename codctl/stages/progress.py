"""How a stage tells whoever watches where it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Progress(Protocol):
    """Both calls are cheap and never fail."""

    def update(self, phase: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
        """`done` of `total` units of a phase are finished; `metrics` are the newest numbers."""

    def message(self, text: str) -> None:
        """Something that the user should read once."""


class Silent:
    """Nobody watches."""

    def update(self, phase: str, done: int, total: int, metrics: Mapping[str, float]) -> None: ...

    def message(self, text: str) -> None: ...
