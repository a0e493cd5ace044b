"""The variant `trinity`: the graphs, targets and materials that Trinity-RFT draws for its published rows.

The distribution is that of `published`, which has the source; this module keeps the order of the draws as well. Values
that are drawn and then have no effect (the share of recipes across tiers, which `max_tier_gap: 1` rules out) are drawn
here too. The preset `tiny` is not published; it is drawn in the same way within its bounds.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate
from random import Random
from string import ascii_lowercase

from codctl.envs import trinity
from codctl.envs.alchemy.presets import PAPER_PRESETS, Preset, shrinking
from codctl.envs.alchemy.world import AlchemyTask, AlchemyWorld, Pair

_MOST_TRIES = 50
_Place = tuple[int, int]  # tier, and place in it


def draw(seed: int, length: int, preset: str) -> tuple[AlchemyWorld, tuple[AlchemyTask, ...]]:
    """The world of a pack and its tasks, whose material is limited only once they are `supplied`."""
    bounds, rng = PAPER_PRESETS[preset], Random(seed)
    tiers, base = rng.randint(*bounds.tiers), rng.randint(*bounds.base)
    plain = shrinking(base, tiers, rng.uniform(*bounds.shrink))
    rng.random()  # the share of recipes across tiers
    graph = _Graph(rng, bounds, plain, rng.uniform(*bounds.dead_ends))
    targets, starts = _targets(rng, plain, length), graph.starts
    places = [targets[position % len(targets)] for position in range(length)]
    return graph.world(), tuple(AlchemyTask(starts[tier] + place, bounds.rounds) for tier, place in places)


def supplied(task: AlchemyTask, row_seed: int, preset: str) -> AlchemyTask:
    """A task with the material that is drawn from the seed of its row, where material is limited."""
    surplus = PAPER_PRESETS[preset].surplus
    return replace(task, is_limited=True, surplus=Random(row_seed).uniform(*surplus)) if surplus else task


class _Graph:
    """Names, recipes and dead ends, in the order in which they are drawn."""

    def __init__(self, rng: Random, bounds: Preset, plain: tuple[int, ...], dead_ends: float) -> None:
        self._rng, self._bounds = rng, bounds
        self._taken: set[str] = set()
        self._names = [[self._name() for _ in range(size)] for size in plain]
        self._recipes: dict[_Place, list[_Pair]] = {}
        self._used: set[tuple[str, ...]] = set()
        self._plain = plain
        for tier in range(1, len(plain)):
            for place in range(plain[tier]):
                pairs = [self._pair(tier) for _ in range(rng.randint(*bounds.recipes))]
                self._recipes[tier, place] = [pair for pair in pairs if pair is not None]
        self._add_dead_ends(dead_ends)

    @property
    def starts(self) -> list[int]:
        """Number of the first element of each tier."""
        return [0, *accumulate(map(len, self._names))]

    def world(self) -> AlchemyWorld:
        sizes, starts = tuple(map(len, self._names)), self.starts
        recipes = [
            tuple(_numbered(starts[tier - 1], pair) for pair in self._recipes.get((tier, place), ()))
            for tier, size in enumerate(sizes)
            for place in range(size)
        ]
        names = tuple(name for tier in self._names for name in tier)
        dead_ends = tuple(size - own for size, own in zip(sizes, self._plain, strict=True))
        return AlchemyWorld(self._bounds, sizes, names, tuple(recipes), dead_ends)

    def _name(self) -> str:
        while True:
            length = self._rng.randint(3, 5)
            name = "".join(self._rng.choices(ascii_lowercase, k=length))
            if name not in self._taken:
                self._taken.add(name)
                return name

    def _pair(self, tier: int) -> _Pair | None:
        """Two elements of the tier below, by place; None when no new pair was found in time."""
        below = self._names[tier - 1][: self._plain[tier - 1]]
        for _ in range(_MOST_TRIES):
            first = self._rng.choice(below)
            self._rng.random()  # decides about a recipe across tiers, which there is none of
            second = self._rng.choice(below)
            key = tuple(sorted((first, second)))
            if key not in self._used:
                self._used.add(key)
                return below.index(key[0]), below.index(key[1])
        return None

    def _add_dead_ends(self, share: float) -> None:
        """One round: with the published bounds the second one is always empty."""
        added: dict[int, list[str]] = {}
        for tier in range(1, len(self._plain)):
            for _ in range(max(0, round(self._plain[tier] * share)) if share > 0 else 0):
                name, pair = self._name(), self._pair(tier)
                if pair is not None:
                    new = added.setdefault(tier, [])
                    self._recipes[tier, self._plain[tier] + len(new)] = [pair]
                    new.append(name)
        for tier, names in added.items():
            self._names[tier] += names


_Pair = tuple[int, int]  # places in the tier below, in the order of the names


def _numbered(start: int, pair: _Pair) -> Pair:
    first, second = sorted(pair)
    return start + first, start + second


def _targets(rng: Random, plain: tuple[int, ...], length: int) -> list[_Place]:
    """Targets without replacement: a tier first, higher ones more often, then one of its elements; shuffled."""
    left = {tier: [(tier, place) for place in range(size)] for tier, size in enumerate(plain) if tier}
    found: list[_Place] = []
    while len(found) < length and left:
        tiers = list(left)
        tier = rng.choices(tiers, weights=[number + 1 for number in tiers], k=1)[0]
        target = rng.choice(left[tier])
        left[tier].remove(target)
        found.append(target)
        left = {number: elements for number, elements in left.items() if elements}
    rng.shuffle(found)
    return found


def row_seeds(split: str, index: int, length: int, preset: str) -> tuple[int, ...]:
    """Seeds of the published rows of a pack; zeros where they have no effect, since it takes seconds to draw them."""
    if not PAPER_PRESETS[preset].surplus:
        return (0,) * length
    seeds = trinity.alchemy_seeds(split)
    return tuple(seeds[row] for row in trinity.pack_rows(split, index, length))
