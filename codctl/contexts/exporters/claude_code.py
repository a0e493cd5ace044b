"""Claude Code: a file of rules that it reads and cannot write, or the memory that it keeps by itself."""

from __future__ import annotations

import re
from pathlib import Path

from codctl.contexts.block import Block
from codctl.contexts.exporters.base import Budget, Exporter, MemoryPlaces, as_read, read_bytes
from codctl.errors import UsageError

_COMMENT = re.compile(r"^\s*<!--", re.MULTILINE)
_HEAD = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)  # of a note: its name and what it is about


class _Instructions(Exporter):
    """A file of instructions, of which Claude Code drops the comments of HTML that begin a line."""

    def check(self, block: Block) -> None:
        super().check(block)
        if _COMMENT.search(block.text):
            raise UsageError(
                'a line of the hints begins with "<!--": Claude Code would leave that comment out',
                hint=f"codctl context edit {block.name}",
            )


class ClaudeCode(_Instructions):
    """`.claude/rules/cod-hints.md` of the project, which goes into the prompt whole."""

    name = "claude-code"
    title = "Claude Code's .claude/rules/cod-hints.md"
    soft = Budget(8_000, 200, "nothing cuts it, but every request carries it")

    def file(self, places: MemoryPlaces) -> Path:
        return places.work / ".claude" / "rules" / "cod-hints.md"


class ClaudeCodeMemory(_Instructions):
    """The `MEMORY.md` that Claude Code keeps for a project and may rewrite itself.

    What it notes by itself are files beside it, one fact each, which it reads when it thinks that it needs them.
    """

    name = "claude-code-memory"
    title = "Claude Code's MEMORY.md"
    hard = Budget(25_000, 200, "the rest is cut")
    config_variable = "CLAUDE_CONFIG_DIR"

    def file(self, places: MemoryPlaces) -> Path:
        config = places.config or places.home / ".claude"
        return config / "projects" / _slug(places.work.resolve()) / "memory" / "MEMORY.md"

    def own_text(self, places: MemoryPlaces) -> str:
        """What it keeps in `MEMORY.md` beside the block, and in the files beside that."""
        return "\n".join(filter(None, [super().own_text(places), *self.notes(places)]))

    def notes(self, places: MemoryPlaces) -> list[str]:
        """The texts of the files beside `MEMORY.md`."""
        path = self.file(places)
        found = [read_bytes(note, places) or b"" for note in sorted(path.parent.glob("*.md")) if note != path]
        return [_HEAD.sub("", as_read(note)).strip() for note in found]


def _slug(work: Path) -> str:
    """What Claude Code calls a project's folder: after the repository that it lies in, if it does."""
    root = next((folder for folder in (work, *work.parents) if (folder / ".git").exists()), work)
    return re.sub(r"[^A-Za-z0-9]", "-", str(root))
