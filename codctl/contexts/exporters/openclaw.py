"""OpenClaw: the `MEMORY.md` of its workspace, which is the folder that it works in."""

from __future__ import annotations

from pathlib import Path

from codctl.contexts.exporters.base import Budget, Exporter, MemoryPlaces


class OpenClaw(Exporter):
    """A block in `MEMORY.md`, which OpenClaw itself may rewrite."""

    name = "openclaw"
    title = "OpenClaw's MEMORY.md"
    hard = Budget(20_000, None, "the middle is left out")

    def file(self, places: MemoryPlaces) -> Path:
        return places.work / "MEMORY.md"
