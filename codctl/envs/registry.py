"""Families by name. A family outside this package registers through the entry point group `codctl.families`.

A plug-in that cannot be used takes nothing else with it: it is listed with its reason, and refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from codctl.config.names import unknown
from codctl.envs.base import Family
from codctl.registry import Broken, Registry, UnusableError, an_instance_of

_NEEDED_POLICIES = ("random",)


def _family(name: str, loaded: Any) -> Family:
    """An instance, which has what every command relies on."""
    family: Family = an_instance_of(Family)(name, loaded)
    if problems := list(_lacks(family, name)):
        raise UnusableError("; ".join(problems))
    return family


FAMILIES: Registry[Family] = Registry(
    "family",
    "codctl.families",
    {
        "frozen_lake": "codctl.envs.frozen_lake.family:FrozenLake",
        "alchemy": "codctl.envs.alchemy.family:Alchemy",
        "terminal": "codctl.envs.terminal.family:Terminal",
        "grid_navigation": "codctl.envs.grid_navigation.family:GridNavigation",
        "learn2ask": "codctl.envs.learn2ask.family:Learn2Ask",
        "pde_discovery": "codctl.envs.pde_discovery.family:PdeDiscovery",
        "optimal_control": "codctl.envs.optimal_control.family:OptimalControl",
    },
    make=_family,
    hint="codctl env list",
    by_path=False,  # results and packs hold a family's own name, by which it is found again
)


def built_in() -> tuple[type[Family], ...]:
    return tuple(type(FAMILIES.get(name)) for name in FAMILIES.built_in)


def families() -> dict[str, Family]:
    """All usable families, the built-in ones first."""
    return FAMILIES.usable()


def broken_families() -> tuple[Broken, ...]:
    """Plug-ins that cannot be used."""
    return FAMILIES.broken()


def get_family(name: str) -> Family:
    """Look a family up.

    Raises:
        UsageError: When there is none of this name; names the nearest.
        PreflightError: When there is one, but it cannot be used.
    """
    return FAMILIES.get(name)


class WorldEntry(Protocol):
    """Worlds as recipes, suites and evaluations name them."""

    @property
    def family(self) -> str: ...

    @property
    def preset(self) -> str: ...

    @property
    def variant(self) -> str | None: ...

    @property
    def options(self) -> Mapping[str, Any]: ...


def family_of(entry: WorldEntry) -> Family:
    """The family of a world entry, set up by its options.

    Raises:
        UsageError: Family, preset, variant or an option is unknown or wrong.
        PreflightError: The family, or a file that an option names, cannot be used.
    """
    return check_world(entry.family, entry.preset, entry.variant, options=entry.options)


def edition_of(entry: WorldEntry) -> int:
    """How often the generator of these worlds was changed, counted from 1."""
    found = family_of(entry)
    return found.edition(entry.preset, entry.variant or found.variants[0])


def check_world(
    family: str,
    preset: str,
    variant: str | None = None,
    rendering: str | None = None,
    options: Mapping[str, Any] = MappingProxyType({}),
) -> Family:
    """Look a family up and make sure that it has this preset, variant and rendering, and takes these options.

    Raises:
        UsageError: One of them is unknown; names the nearest.
        PreflightError: The family, or a file that an option names, cannot be used.
    """
    found = get_family(family)
    if preset not in found.presets:
        raise unknown(f"preset of {found.name}", preset, list(found.presets), "codctl env list")
    if variant is not None and variant not in found.variants:
        raise unknown(f"variant of {found.name}", variant, list(found.variants), "codctl env list")
    if rendering is not None and rendering not in found.renderings:
        raise unknown(f"rendering of {found.name}", rendering, list(found.renderings), "codctl env list")
    return found.with_options(variant or found.variants[0], options)


def _lacks(family: Family, name: str) -> Iterator[str]:
    """What a family does not have that lists, seeds and options need."""
    for attribute in ("name", "title"):
        value = getattr(family, attribute, None)
        if not (isinstance(value, str) and value.strip()):
            yield f"its attribute {attribute!r} must be a text, and is {value!r}"
    for attribute in ("presets", "variants", "renderings", "policies"):
        value = getattr(family, attribute, None)
        if not (isinstance(value, tuple) and value and all(isinstance(item, str) for item in value)):
            yield f"its attribute {attribute!r} must be a tuple with at least one name, and is {value!r}"
        elif missing := [needed for needed in _NEEDED_POLICIES if attribute == "policies" and needed not in value]:
            yield f"its policies lack {', '.join(missing)}"
    if getattr(family, "name", name) != name:
        yield f"it calls itself {family.name!r} and its entry point {name!r}; make them the same"
