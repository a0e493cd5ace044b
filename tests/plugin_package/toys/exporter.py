"""codctl context export NAME --to notes: hints in NOTES.md of the folder that a program works in."""

from __future__ import annotations

from pathlib import Path

from codctl.contexts.exporters.base import Budget, Exporter, MemoryPlaces


class Notes(Exporter):
    name = "notes"
    title = "NOTES.md"
    hard = Budget(chars=1_000, why="the rest is cut")

    def file(self, places: MemoryPlaces) -> Path:
        return places.work / "NOTES.md"
