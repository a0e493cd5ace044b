"""Where the packs of a recipe come from: one family, or several with weights."""

from __future__ import annotations

from dataclasses import dataclass

from codctl.config.schema import WorldConfig, WorldRef
from codctl.envs.base import Family, Pack
from codctl.envs.registry import family_of

PACKS_PER_SEED = 10**9  # numbers of one root seed; packs of different seeds never meet
_GOLDEN = 0.6180339887498949


@dataclass(frozen=True)
class Part:
    """One family of a mixture, and its worlds: with a variant, and a weight that is relative."""

    family: Family
    world: WorldRef


@dataclass(frozen=True)
class Mixture:
    """Numbered packs of one or more families."""

    parts: tuple[Part, ...]
    length: int

    @classmethod
    def of(cls, world: WorldConfig) -> Mixture:
        """The packs of a recipe.

        Raises:
            UsageError: Unknown family, or an option that it does not take.
        """
        parts = []
        for part in world.parts:
            family = family_of(part)
            named = part.model_copy(update={"variant": part.variant or family.variants[0]})
            parts.append(Part(family, named))
        return cls(tuple(parts), world.length)

    def part(self, number: int) -> Part:
        """The family of pack `number`: multiples of the golden ratio spread evenly, so any run of packs is balanced."""
        place = number * _GOLDEN % 1.0 * sum(part.world.weight for part in self.parts)
        for part in self.parts:
            place -= part.world.weight
            if place < 0:
                return part
        return self.parts[-1]

    def pack(self, split: str, number: int) -> Pack:
        part = self.part(number)
        return part.family.pack(split, number, self.length, part.world.preset, part.world.variant)

    def packs(self, split: str, seed: int, first: int, count: int) -> list[Pack]:
        """Packs `first` … of the range of a root seed."""
        start = seed * PACKS_PER_SEED + first
        return [self.pack(split, number) for number in range(start, start + count)]
