"""Claude Code: a file of rules that it reads and cannot write, or the memory that it keeps by itself."""

from __future__ import annotations

import re
from pathlib import Path

from codctl.contexts.block import Block
from codctl.contexts.exporters.base import Budget, Exporter, MemoryPlaces
from codctl.errors import UsageError

_COMMENT = re.compile(r"^\s*<!--", re.MULTILINE)


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
    """The `MEMORY.md` that Claude Code keeps for a project and may rewrite itself."""

    name = "claude-code-memory"
    title = "Claude Code's MEMORY.md"
    hard = Budget(25_000, 200, "the rest is cut")
    config_variable = "CLAUDE_CONFIG_DIR"

    def file(self, places: MemoryPlaces) -> Path:
        config = places.config or places.home / ".claude"
        return config / "projects" / _slug(places.work) / "memory" / "MEMORY.md"


def _slug(work: Path) -> str:
    """What Claude Code calls a project's folder."""
    return re.sub(r"[^A-Za-z0-9]", "-", str(work.resolve()))
