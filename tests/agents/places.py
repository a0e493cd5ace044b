"""Folders of a session, and a program that only needs to be there."""

from __future__ import annotations

from pathlib import Path

import pytest

from codctl.agents.finding import variable
from codctl.agents.program import PROGRAMS, AgentProgram, Finished, ModelAccess, Places, Task, ToolServer
from codctl.contexts.block import Block

MODEL = ModelAccess("http://127.0.0.1:9/s/abc", "a-key", "tiny", 32_768, 2_048)
WORLD = ToolServer("world", ("/usr/bin/python3", "-I", "-S", "/tmp/relay.py", "/tmp/s"))
BLOCK = Block("lake", 3, "K moves up.\nQ moves down.")
TASK = Task("-- Play.", str(BLOCK), WORLD, "none", 7, 90.0)


def places_in(folder: Path) -> Places:
    places = Places(folder / "home", folder / "work", folder / "t")
    for place in (places.home, places.work, places.temp):
        place.mkdir()
    return places


def there(name: str, folder: Path, patch: pytest.MonkeyPatch, says: str = "") -> AgentProgram:
    """A program whose executable is there, and only says something."""
    executable = folder / name
    executable.write_text(f"#!/bin/sh\nprintf '%s\\n' '{says}'\n")
    executable.chmod(0o755)
    program = PROGRAMS.get(name)
    patch.setenv(variable(program), str(executable))
    return program


def finished(folder: Path, stdout: str = "", stderr: str = "", code: int | None = 0, *, late: bool = False) -> Finished:
    for name, text in (("stdout", stdout), ("stderr", stderr)):
        (folder / name).write_text(text)
    return Finished(code, late, folder / "stdout", folder / "stderr")
