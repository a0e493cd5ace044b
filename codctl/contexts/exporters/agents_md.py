"""`AGENTS.md` in the project's folder, which Hermes, OpenClaw, QwenPaw, Codex and others read."""

from __future__ import annotations

from pathlib import Path

from codctl.contexts.exporters.base import Budget, Exporter, MemoryPlaces


class AgentsMd(Exporter):
    """A block among the project's own instructions."""

    name = "agents-md"
    title = "AGENTS.md"
    soft = Budget(20_000, None, "some programs then leave out the middle")

    def file(self, places: MemoryPlaces) -> Path:
        return places.work / "AGENTS.md"
