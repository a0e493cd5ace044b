"""Hints in the memory of an agent program, and what stands there after a session."""

from __future__ import annotations

import re
from pathlib import Path

from codctl.agents.program import AgentProgram, Places, Task
from codctl.contexts.block import CAVEAT, find_blocks
from codctl.contexts.exporters.base import EXPORTERS, MemoryPlaces

_AROUND = re.compile(rf"^(?:\[/?codctl hints\b[^\n]*|{re.escape(CAVEAT)})\n?", re.MULTILINE)


def put_hints(
    program: AgentProgram, places: Places, task: Task, config: Path | None = None, exporter: str = ""
) -> None:
    """Write the hints of a task where the program reads them.

    Args:
        program: Its exporter is used.
        places: Of the session.
        task: Without hints nothing is written.
        config: The program's own folder, where it is not its usual one.
        exporter: Another exporter than that of its `memory`.

    Raises:
        CodctlError: They do not fit, or cannot be written.
    """
    for block in find_blocks(task.hints):
        where = MemoryPlaces(places.home, places.work, config)
        EXPORTERS.get(exporter or program.memory).export(block, where)


def kept_text(program: AgentProgram, places: Places, config: Path | None = None, exporter: str = "") -> str:
    """What stands in the program's memory: the hints that were put there, as far as it has left them, and its own.

    The lines around the hints are left out, also where the program has damaged them.
    """
    path = EXPORTERS.get(exporter or program.memory).file(MemoryPlaces(places.home, places.work, config))
    if path is None or not path.is_file():
        return ""
    text = path.read_text(encoding="utf-8", errors="replace")
    return re.sub(r"\n{3,}", "\n\n", _AROUND.sub("", text)).strip()
