"""The variant `paper` against figures of the published generator, which was executed for 3,000 to 6,000 packs.

`experiments/bench/published_worlds.py` prints the whole table with more packs.
"""

from __future__ import annotations

from functools import cache
from math import sqrt
from statistics import mean, median, stdev

import pytest

from codctl.envs.alchemy.bayes import obtain, recipes_by_product
from codctl.envs.base import Pack
from codctl.envs.registry import get_family

ALCHEMY = get_family("alchemy")
PACKS, REFERENCE_PACKS = 1000, 3000


@cache
def packs(preset: str, length: int) -> list[Pack]:
    return [ALCHEMY.pack("test", index, length, preset, "paper") for index in range(PACKS)]


def repeated(preset: str, length: int, position: int) -> list[float]:
    """For each pack, whether a position has a target that it had before."""
    targets = [[task.target for task in pack.tasks] for pack in packs(preset, length)]  # type: ignore[attr-defined]
    return [float(row[position] in row[:position]) for row in targets]


def distinct(preset: str, length: int) -> list[float]:
    return [len({task.target for task in pack.tasks}) for pack in packs(preset, length)]  # type: ignore[attr-defined]


def of_tasks(preset: str, length: int, of_tier: int) -> list[float]:
    """For each pack, the share of its targets that are of a tier."""
    return [mean(pack.world.tier_of[t.target] == of_tier for t in pack.tasks) for pack in packs(preset, length)]  # type: ignore[attr-defined]


MEASURES = {
    "easy: four tiers": (0.50, lambda: [len(pack.world.sizes) == 4 for pack in packs("easy", 4)]),
    "easy: two elements to make": (0.13, lambda: [len(pack.world.craftable) == 2 for pack in packs("easy", 4)]),
    "easy: three elements to make": (0.50, lambda: [len(pack.world.craftable) == 3 for pack in packs("easy", 4)]),
    "easy: distinct targets of 4": (3.24, lambda: distinct("easy", 4)),
    "easy: seen before at position 3": (0.13, lambda: repeated("easy", 4, 2)),
    "easy: seen before at position 4": (0.64, lambda: repeated("easy", 4, 3)),
    "hard: distinct targets of 8": (5.40, lambda: distinct("hard", 8)),
    "hard: seen before at position 4": (0.14, lambda: repeated("hard", 8, 3)),
    "hard: seen before at position 5": (0.31, lambda: repeated("hard", 8, 4)),
    "hard: targets of tier 1": (0.48, lambda: of_tasks("hard", 4, 1)),
    "hard: targets of tier 2": (0.39, lambda: of_tasks("hard", 4, 2)),
    "hard: targets of tier 3": (0.14, lambda: of_tasks("hard", 4, 3)),
    "hard: pieces at the start": (13.4, lambda: [mean(pieces(pack)) for pack in packs("hard", 8)]),
    "hard: elements": (11.2, lambda: [sum(pack.world.sizes) for pack in packs("hard", 8)]),
    "hard: recipes": (8.8, lambda: [len(pack.world.products) for pack in packs("hard", 8)]),
    "hard: solvable with full knowledge": (0.972, lambda: [mean(solvable(pack)) for pack in packs("hard", 8)]),
}


def pieces(pack: Pack) -> list[int]:
    return [sum(task.stock(pack.world).values()) for task in pack.tasks]  # type: ignore[attr-defined]


def solvable(pack: Pack) -> list[bool]:
    recipes = recipes_by_product(pack.world.products)
    return [obtain([task.target], task.stock(pack.world), recipes) is not None for task in pack.tasks]  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", MEASURES)
def test_the_worlds_are_distributed_as_published(name: str) -> None:
    published, measure = MEASURES[name]
    values = [float(value) for value in measure()]
    error = stdev(values) * sqrt(1 / PACKS + 1 / REFERENCE_PACKS)
    rounding = 0.005 if published < 1 else 0.05 if published > 5 else 0.005
    assert mean(values) == pytest.approx(published, abs=3 * error + rounding)


def test_no_target_comes_twice_before_all_have_come() -> None:
    for pack in packs("easy", 4) + packs("hard", 8):
        targets = [task.target for task in pack.tasks]  # type: ignore[attr-defined]
        count = len(set(targets))
        plain = sum(pack.world.sizes[1:]) - sum(pack.world.dead_ends)
        assert count == min(len(pack), plain)
        assert targets == (targets[:count] * len(pack))[: len(pack)]


def test_every_base_element_is_there_equally_often() -> None:
    counts = [task.stock(pack.world) for pack in packs("hard", 8) for task in pack.tasks]  # type: ignore[attr-defined]
    assert all(len(set(stock.values())) == 1 for stock in counts)
    assert all(
        set(task.stock(pack.world)) == set(pack.world.tiers[0]) for pack in packs("hard", 8) for task in pack.tasks
    )  # type: ignore[attr-defined]
    assert median(sum(stock.values()) for stock in counts) == 12


def test_dead_ends_are_no_targets_and_no_inputs_and_have_one_recipe() -> None:
    found = 0
    for pack in packs("hard", 8):
        world = pack.world
        dead = {e for tier, extra in zip(world.tiers, world.dead_ends, strict=True) for e in tier[len(tier) - extra :]}
        found += len(dead)
        assert not dead & {task.target for task in pack.tasks}  # type: ignore[attr-defined]
        assert not dead & {element for pair in world.products for element in pair}
        assert all(len(world.recipes[element]) == 1 for element in dead)
    assert found > PACKS / 3


def test_two_different_inputs_are_twice_as_likely_as_two_the_same() -> None:
    """In a tier above three base elements, a recipe's inputs are drawn one after the other."""
    firsts = [p.world.recipes[3][0] for p in packs("easy", 4) if p.world.sizes[0] == 3]
    share = mean(first == second for first, second in firsts)
    assert share == pytest.approx(1 / 3, abs=3 * sqrt(2 / 9 / len(firsts)))


def test_the_need_is_counted_as_published(scarce_world) -> None:
    assert scarce_world.published_need(3) == 1  # a + b
    assert scarce_world.published_need(4) == 2  # c + c
    assert scarce_world.published_need(5) == 2  # a, b and c + c
