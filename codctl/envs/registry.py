"""Families by name. A family outside this package registers through the entry point group `codctl.families`."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from importlib.metadata import entry_points

from codctl.envs.base import Family
from codctl.errors import UsageError


@cache
def families() -> dict[str, Family]:
    """All known families, the built-in ones first."""
    from codctl.envs.frozen_lake.family import FrozenLake

    found: dict[str, Family] = {FrozenLake.name: FrozenLake()}
    for entry in entry_points(group="codctl.families"):
        if entry.name not in found:
            found[entry.name] = entry.load()()
    return found


def get_family(name: str) -> Family:
    """Look a family up.

    Raises:
        UsageError: When there is none of this name; names the nearest.
    """
    known = families()
    if name in known:
        return known[name]
    raise unknown("family", name, list(known), "codctl env list")


def check_preset(family: Family, preset: str) -> None:
    """Raise UsageError unless the family has the preset."""
    if preset not in family.presets:
        raise unknown(f"preset of {family.name}", preset, list(family.presets), "codctl env list")


def unknown(what: str, given: str, known: list[str], command: str) -> UsageError:
    """The error for a name that does not exist, with the nearest one."""
    near = get_close_matches(given, known, n=1, cutoff=0.5)
    guess = f"; did you mean {near[0]!r}?" if near else ""
    return UsageError(f"unknown {what} {given!r}{guess} (known: {', '.join(known)})", hint=command)
