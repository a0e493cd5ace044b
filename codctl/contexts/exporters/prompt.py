"""No file: the block to be put into a prompt by hand, such as `--append-system-prompt` of Claude Code."""

from __future__ import annotations

from codctl.contexts.exporters.base import Exporter, MemoryPlaces


class Prompt(Exporter):
    """The block, to be shown."""

    name = "prompt"
    title = "the prompt"

    def file(self, places: MemoryPlaces) -> None:
        return None
