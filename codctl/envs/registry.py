"""Families by name. A family outside this package registers through the entry point group `codctl.families`.

A plug-in that cannot be used takes nothing else with it: it is listed with its reason, and refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from codctl.config.nearest import unknown
from codctl.envs.base import Family
from codctl.errors import PreflightError

GROUP = "codctl.families"
_NEEDED_POLICIES = ("bayes", "informed", "random")


@dataclass(frozen=True)
class BrokenFamily:
    """A plug-in that cannot be used.

    Attributes:
        name: What its entry point calls it.
        source: Entry point and distribution.
        reason: What is wrong.
    """

    name: str
    source: str
    reason: str


class _UnusableError(Exception):
    """The plug-in loads, but is no family."""


def built_in() -> tuple[type[Family], ...]:
    from codctl.envs.alchemy.family import Alchemy
    from codctl.envs.frozen_lake.family import FrozenLake
    from codctl.envs.terminal.family import Terminal

    return (FrozenLake, Alchemy, Terminal)


def families() -> dict[str, Family]:
    """All usable families, the built-in ones first."""
    return dict(_found()[0])


def broken_families() -> tuple[BrokenFamily, ...]:
    """Plug-ins that cannot be used."""
    return _found()[1]


def get_family(name: str) -> Family:
    """Look a family up.

    Raises:
        UsageError: When there is none of this name; names the nearest.
        PreflightError: When there is one, but it cannot be used.
    """
    known = _found()[0]
    if name in known:
        return known[name]
    for broken in broken_families():
        if broken.name == name:
            raise PreflightError(
                f"family {name!r} cannot be used: {broken.reason}",
                where=broken.source,
                hint="fix or uninstall that package; codctl env list shows the usable families",
            )
    raise unknown("family", name, list(known), "codctl env list")


def edition_of(family: str, preset: str, variant: str | None = None) -> int:
    """How often the generator of these worlds was changed, counted from 1."""
    found = get_family(family)
    return found.edition(preset, variant or found.variants[0])


def check_world(family: str, preset: str, variant: str | None = None, rendering: str | None = None) -> Family:
    """Look a family up and make sure that it has this preset, variant and rendering.

    Raises:
        UsageError: When one of them is unknown; names the nearest.
        PreflightError: When the family cannot be used.
    """
    found = get_family(family)
    if preset not in found.presets:
        raise unknown(f"preset of {found.name}", preset, list(found.presets), "codctl env list")
    if variant is not None and variant not in found.variants:
        raise unknown(f"variant of {found.name}", variant, list(found.variants), "codctl env list")
    if rendering is not None and rendering not in found.renderings:
        raise unknown(f"rendering of {found.name}", rendering, list(found.renderings), "codctl env list")
    return found


@cache
def _found() -> tuple[dict[str, Family], tuple[BrokenFamily, ...]]:
    found = {family.name: family() for family in built_in()}
    owners = dict.fromkeys(found, "codctl itself")
    broken: list[BrokenFamily] = []
    for entry in sorted(entry_points(group=GROUP), key=_source):
        try:
            if entry.name in found:
                raise _UnusableError(f"the name {entry.name!r} is taken by {owners[entry.name]}; choose another")
            family = _load(entry)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - foreign code: whatever it raises is its own matter
            broken.append(BrokenFamily(entry.name, _source(entry), _reason(error)))
            continue
        found[entry.name], owners[entry.name] = family, _source(entry)
    return found, tuple(broken)


def _load(entry: EntryPoint) -> Family:
    """Load a plug-in and make sure that what every command relies on is there."""
    made = entry.load()
    if not (isinstance(made, type) and issubclass(made, Family)):
        raise _UnusableError("it is not a subclass of codctl.envs.base.Family")
    family = made()
    if problems := list(_lacks(family, entry.name)):
        raise _UnusableError("; ".join(problems))
    return family


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


def _reason(error: BaseException) -> str:
    """One line: what is wrong with the plug-in, or what it raised and where."""
    from traceback import extract_tb

    text = " ".join(str(error).split()) or "no message"
    if isinstance(error, _UnusableError):
        return text
    own = [f for f in extract_tb(error.__traceback__) if f.filename != __file__ and "importlib" not in f.filename]
    place = f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {text}{place}"


def _source(entry: EntryPoint) -> str:
    """Distribution, group, name and object: what a person needs to find the culprit."""
    distribution = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unnamed distribution"
    return f"{distribution}, entry point {entry.name} = {entry.value}"
