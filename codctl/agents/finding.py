"""Where agent programs are on this machine, and which version."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from codctl.agents.program import AgentProgram, Places
from codctl.errors import PreflightError

_PATIENCE_S = 60.0
_VERSION = re.compile(r"\d+(?:\.\d+)+[\w.-]*")


def variable(program: AgentProgram) -> str:
    """The variable that names its executable: `CODCTL_CLAUDE_CODE`."""
    return "CODCTL_" + program.name.upper().replace("-", "_")


def find(program: AgentProgram, command: str, elsewhere: Iterable[Path] = ()) -> Path:
    """The executable of a program: what its variable names, else what is on the PATH, else where packages put it.

    Raises:
        PreflightError: It is not there.
    """
    if named := os.environ.get(variable(program), ""):
        if os.access(named, os.X_OK) and Path(named).is_file():
            return Path(named).absolute()
        raise PreflightError(f"{variable(program)} names no program that can be started", where=named)
    if found := shutil.which(command):
        return Path(found).absolute()
    for path in elsewhere:
        if os.access(path, os.X_OK) and path.is_file():
            return path.absolute()
    raise PreflightError(
        f"{program.title} is not installed: {command} is not on the PATH",
        hint=f"{program.install}, or name the executable in {variable(program)}",
    )


def packaged_version(executable: Path, distribution: str) -> str:
    """The version of the Python package that an executable belongs to; empty where it belongs to none."""
    packages = executable.resolve().parent.parent.glob(f"lib/python*/site-packages/{distribution}-*.dist-info")
    return max((path.name.removesuffix(".dist-info").partition("-")[2] for path in packages), default="")


def said_version(executable: Path, environment: Callable[[Places], Mapping[str, str]]) -> str:
    """What a program says when it is asked for its version, in a home that is gone afterwards.

    Args:
        executable: The program.
        environment: What it gets, for these places.

    Raises:
        PreflightError: It cannot be started, fails, or does not end.
    """
    with tempfile.TemporaryDirectory(prefix="codctl-") as home:
        places = Places(Path(home), Path(home), Path(home))
        return said([str(executable), "--version"], environment(places))


def version_in(text: str) -> str:
    """The first version number in a text; all of the text where there is none."""
    found = _VERSION.search(text)
    return found[0] if found else text


def said(argv: Iterable[str], env: Mapping[str, str]) -> str:
    """What a program says, such as its version.

    Raises:
        PreflightError: It cannot be started, fails, or does not end.
    """
    command = [*argv]
    try:
        done = subprocess.run(  # noqa: S603  the program that the user installed
            command,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        reason = " ".join(str(error).split())
        raise PreflightError(f"it does not say its version: {reason}", where=command[0]) from error
    return done.stdout.strip()
