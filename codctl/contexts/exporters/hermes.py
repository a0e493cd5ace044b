"""Hermes: its `MEMORY.md`, a list of entries with a line `§` between them.

The block is one entry, and the first one: Hermes compares the file with what it would write itself and locks its memory
tool where the two differ. Blanks at the end of the file are no difference, blanks between entries are one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from codctl.contexts.block import Block, Placed
from codctl.contexts.exporters.base import Budget, Exporter, MemoryPlaces
from codctl.errors import UsageError

_BETWEEN = "\n§\n"
_CHARS = 2_200  # Hermes's default of memory.memory_char_limit


class Hermes(Exporter):
    """`memories/MEMORY.md` in `HERMES_HOME`."""

    name = "hermes"
    title = "Hermes's MEMORY.md"
    hard = Budget(_CHARS, None, "Hermes could not add to its own memory any more")
    config_variable = "HERMES_HOME"

    def file(self, places: MemoryPlaces) -> Path:
        return _home(places) / "memories" / "MEMORY.md"

    def limit(self, places: MemoryPlaces) -> Budget:
        """Its own setting, where its configuration has one."""
        assert self.hard
        return Budget(_char_limit(_home(places) / "config.yaml"), None, self.hard.why)

    def check(self, block: Block) -> None:
        super().check(block)
        if _BETWEEN in str(block):
            raise UsageError('the hints have a line with only "§", which separates the entries of Hermes\'s memory')

    def added(self, block: str, text: str) -> str:
        return block + _BETWEEN * bool(text.strip()) + text

    def without(self, placed: Placed, text: str) -> str:
        head, tail = text[: placed.start], text[placed.end :]
        return head.removesuffix(_BETWEEN) + tail if head else tail.removeprefix(_BETWEEN)

    def own_text(self, places: MemoryPlaces) -> str:
        """The other entries, one below the other."""
        return super().own_text(places).replace(_BETWEEN, "\n")


def _home(places: MemoryPlaces) -> Path:
    return places.config or places.home / ".hermes"


def _char_limit(path: Path) -> int:
    import yaml

    try:
        found: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        limit = found["memory"]["memory_char_limit"]
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):  # Hermes takes its default then, too
        return _CHARS
    return limit if isinstance(limit, int) and limit > 0 else _CHARS
