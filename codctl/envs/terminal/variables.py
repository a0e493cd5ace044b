"""`$HOME`, `${USER}` and `%USERPROFILE%` in a command line; the published simulator expands them (variant `paper`)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from codctl.envs.terminal.paths import WINDOWS

if TYPE_CHECKING:
    from codctl.envs.terminal.machine import Machine

_UNIX = re.compile(r"\$(?:\{(\w+)\}|(\w+))", re.ASCII)
_WINDOWS = re.compile(r"%(\w+)%()", re.ASCII)


def expand(line: str, here: Machine) -> str:
    """The line with the values of variables that exist; others stay, and are refused with the line."""
    values = _values(here)
    pattern = _WINDOWS if here.identity.system == WINDOWS else _UNIX

    def value(found: re.Match[str]) -> str:
        return values.get(found[1] or found[2], found[0])

    return pattern.sub(value, line)


def _values(here: Machine) -> dict[str, str]:
    identity = here.identity
    home, folder = here.show(identity.home), here.show(here.cwd)
    if identity.system == WINDOWS:
        return {"USERPROFILE": home, "USERNAME": identity.user, "CD": folder}
    return {"HOME": home, "USER": identity.user, "PWD": folder}
