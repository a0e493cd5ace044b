"""Hints in the memory of an agent program, and what it keeps there itself."""

from __future__ import annotations

from pathlib import Path

from codctl.agents.program import AgentProgram, Places, Task
from codctl.contexts.block import find_blocks
from codctl.contexts.exporters.base import EXPORTERS, MemoryPlaces


def put_hints(program: AgentProgram, places: Places, task: Task, config: Path | None = None) -> None:
    """Write the hints of a task where the program reads them.

    Args:
        program: Its exporter is used.
        places: Of the session.
        task: Without hints nothing is written.
        config: The program's own folder, where it is not its usual one.

    Raises:
        CodctlError: They do not fit, or cannot be written.
    """
    for block in find_blocks(task.hints):
        EXPORTERS.get(program.memory).export(block, MemoryPlaces(places.home, places.work, config))


def own_text(program: AgentProgram, places: Places, config: Path | None = None) -> str:
    """What the program keeps beside the hints.

    Raises:
        RefusedError: It cannot be read, or told apart from the hints.
    """
    return EXPORTERS.get(program.memory).own_text(MemoryPlaces(places.home, places.work, config))
