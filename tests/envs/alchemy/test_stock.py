"""What the material at the start tells about the recipes: nothing, except where that is published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import combinations_with_replacement
from math import sqrt
from random import Random

from codctl.envs.alchemy.world import AlchemyTask, AlchemyWorld, Pair
from codctl.envs.registry import get_family

ALCHEMY = get_family("alchemy")
PACKS = 1500
Stock = Callable[[AlchemyTask, AlchemyWorld], dict[int, int]]


def first_tier(split: str) -> list[tuple[AlchemyTask, AlchemyWorld]]:
    """Tasks whose target has one recipe of base elements."""
    packs = [ALCHEMY.pack(split, index, 2, "hard") for index in range(PACKS)]
    tasks = [(task, pack.world) for pack in packs for task in pack.tasks]
    return [(t, w) for t, w in tasks if w.tier_of[t.target] == 1 and len(w.recipes[t.target]) == 1]  # type: ignore[attr-defined]


def test_the_stock_is_the_same_whatever_the_recipes_are() -> None:
    """So every pair of base elements that could make a target is compatible with what is shown."""
    for index in range(40):
        pack = ALCHEMY.pack("test", index, 8, "hard")
        others = [ALCHEMY.redraw(pack.world, Random(seed)) for seed in range(5)]
        for task in pack.tasks:
            assert {tuple(task.stock(world).items()) for world in (pack.world, *others)} == {  # type: ignore[attr-defined]
                tuple(task.stock(pack.world).items())  # type: ignore[attr-defined]
            }


def gain(stock: Stock) -> tuple[float, float]:
    """How much more often a guesser names the recipe from the stock than by chance, and the standard error.

    It has learned from other packs how likely a pair is that shows these counts, and names the likeliest pair.
    """
    odds, seen = Counter[tuple[int, ...]](), Counter[tuple[int, ...]]()
    for task, world in first_tier("train"):
        shown = stock(task, world)
        for pair in combinations_with_replacement(world.tiers[0], 2):
            look = _look(shown, pair, world)
            seen[look] += 1
            odds[look] += pair in world.recipes[task.target]
    rng, gains = Random(0), []
    for task, world in first_tier("test"):
        shown, pairs = stock(task, world), list(combinations_with_replacement(world.tiers[0], 2))
        rng.shuffle(pairs)
        looks = {pair: _look(shown, pair, world) for pair in pairs}
        guess = max(pairs, key=lambda pair: odds[looks[pair]] / (seen[looks[pair]] or 1))
        gains.append((guess in world.recipes[task.target]) - 1 / len(pairs))
    mean = sum(gains) / len(gains)
    return mean, sqrt(sum((g - mean) ** 2 for g in gains)) / len(gains)


def _look(shown: dict[int, int], pair: Pair, world: AlchemyWorld) -> tuple[int, ...]:
    counts = sorted(shown.get(element, 0) for element in pair)
    return (len(world.tiers[0]), pair[0] == pair[1], *counts, sum(shown.values()))


def test_a_bayesian_guesser_gains_nothing_from_the_stock() -> None:
    more, error = gain(lambda task, world: task.stock(world))
    assert abs(more) < 3 * error


def test_the_guesser_would_find_a_stock_that_tells() -> None:
    """As the stock once was: what the recipe needs, and a surplus that is spread evenly."""

    def telling(task: AlchemyTask, world: AlchemyWorld) -> dict[int, int]:
        need = Counter(world.recipes[task.target][0])
        need[world.tiers[0][task.target % len(world.tiers[0])]] += 1
        return dict(need)

    more, error = gain(telling)
    assert more > 0.2 > 10 * error
