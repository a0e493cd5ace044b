"""Difficulties of Alchemy-Random, what elements are called, and how many elements each tier of a graph has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from random import Random
from typing import Literal

from codctl.errors import UsageError

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_RANGES = ("abcdefghijkl", "mnopqrstuvwxyz", "ABCDEFGHIJKLM", "NOPQRSTUVWXYZ")  # by tier


def draw_names(rng: Random, count: int) -> tuple[str, ...]:
    """Distinct names of three to five lower-case letters."""
    names: dict[str, None] = {}
    while len(names) < count:
        names["".join(rng.choices(_LETTERS, k=rng.randint(3, 5)))] = None
    return tuple(names)


@cache
def symbols(sizes: Sequence[int]) -> tuple[str, ...]:
    """One symbol for each element, the same in every world: `a b c` base, `m n o` made of those, then `A B C`."""
    return tuple(
        _symbol(letters, place) for letters, size in zip(_RANGES, sizes, strict=False) for place in range(size)
    )


def _symbol(letters: str, place: int) -> str:
    again, index = divmod(place, len(letters))
    return letters[index] + (str(again) if again else "")


MOST_TIERS = 4  # a symbol of the compact rendering tells its tier: there are four ranges of letters


@dataclass(frozen=True)
class Preset:
    """Bounds from which a graph and its tasks are drawn.

    Attributes:
        rounds: Mixes that a task allows.
        tiers: Fewest and most tiers, the base elements included.
        base: Fewest and most base elements.
        shrink: Smallest and largest size of a tier as a share of the tier below it.
        recipes: Fewest and most recipes of an element that can be made.
        dead_ends: Smallest and largest share of a tier that is no input of anything. With `published` these are
            elements besides the others, as many as this share, which are never a target.
        surplus: With `published`, smallest and largest material as a multiple of what the target needs; without, each
            base element is there as often as any recipe may need it. None: material is unlimited.
        published: Drawn by the rules of `codctl.envs.alchemy.published`.
        targets: `drawn`: each task's target at random; `all`: every element that can be made, before any comes again.
    """

    rounds: int
    tiers: tuple[int, int]
    base: tuple[int, int]
    shrink: tuple[float, float]
    recipes: tuple[int, int] = (1, 1)
    dead_ends: tuple[float, float] = (0.0, 0.0)
    surplus: tuple[float, float] | None = None
    targets: Literal["drawn", "all"] = "drawn"
    published: bool = False

    def inputs(self, size: int, dead_ends: float) -> int:
        """How many of a tier's elements are inputs of the next one."""
        return size - int(size * dead_ends)


PRESETS = {
    "tiny": Preset(rounds=2, tiers=(2, 2), base=(3, 3), shrink=(5 / 3, 5 / 3), targets="all"),
    "easy": Preset(rounds=8, tiers=(3, 4), base=(3, 4), shrink=(0.4, 0.6)),
    "hard": Preset(
        rounds=15,
        tiers=(3, 4),
        base=(4, 6),
        shrink=(0.4, 0.8),
        recipes=(1, 2),
        dead_ends=(0.0, 0.3),
        surplus=(1.5, 2.0),
    ),
}


PAPER_PRESETS = {**PRESETS, **{name: replace(PRESETS[name], published=True) for name in ("easy", "hard")}}


def pairs_of(count: int) -> int:
    """Unordered pairs of `count` elements, doubles included."""
    return count * (count + 1) // 2


def shrinking(base: int, tiers: int, shrink: float) -> tuple[int, ...]:
    """Sizes of the tiers as published: each a share of the one below, one element at least."""
    sizes = [base]
    while len(sizes) < tiers:
        sizes.append(max(1, round(sizes[-1] * shrink)))
    return tuple(sizes)


def widened(preset: Preset, sizes: Sequence[int], shrink: float, least: int) -> tuple[int, ...]:
    """The same with at least `least` elements to make: a wider first tier, and more base elements if need be."""
    if sum(sizes[1:]) >= least:
        return tuple(sizes)
    first = sizes[1]
    while sum(wide := shrinking(first, len(sizes) - 1, shrink)) < least:
        first += 1
    base = sizes[0]
    while pairs_of(preset.inputs(base, preset.dead_ends[1])) < first:
        base += 1
    return (base, *wide)


def check_sizes(preset: Preset, sizes: Sequence[int]) -> None:
    """Raise UsageError when no graph has these sizes."""
    if not 2 <= len(sizes) <= MOST_TIERS:
        raise UsageError(f"alchemy: a graph has 2 to {MOST_TIERS} tiers, got {len(sizes)}", hint="tiers=(3, 4)")
    for tier, size in enumerate(sizes):
        if size < 1:
            raise UsageError(
                f"alchemy: fewer elements than tiers: tier {tier} of {len(sizes)} would be empty", hint="a larger base"
            )
    for tier, (below, size) in enumerate(pairwise(sizes), start=1):
        pairs = pairs_of(preset.inputs(below, preset.dead_ends[1]))
        if size > pairs:
            raise UsageError(
                f"alchemy: tier {tier} has {size} elements, but the {below} below it make only {pairs} pairs",
                hint="a larger base or a smaller shrink",
            )
