"""Families by name. A family outside this package registers through the entry point group `codctl.families`."""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points

from codctl.config.nearest import unknown
from codctl.envs.base import Family


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
