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


def check_world(family: str, preset: str, variant: str | None = None) -> Family:
    """Look a family up and make sure that it has this preset and variant.

    Raises:
        UsageError: When one of the three is unknown; names the nearest.
    """
    found = get_family(family)
    if preset not in found.presets:
        raise unknown(f"preset of {found.name}", preset, list(found.presets), "codctl env list")
    if variant is not None and variant not in found.variants:
        raise unknown(f"variant of {found.name}", variant, list(found.variants), "codctl env list")
    return found
