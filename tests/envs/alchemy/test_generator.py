"""Presets of one's own: what cannot be drawn is said once and clearly."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from codctl.envs.alchemy.generator import redraw, sample_tasks, sample_world
from codctl.envs.alchemy.presets import PRESETS, Preset, draw_names, symbols
from codctl.errors import UsageError

EASY = PRESETS["easy"]


@pytest.mark.parametrize(
    ("preset", "message"),
    [
        (
            replace(EASY, base=(1, 1), shrink=(2.0, 2.0)),
            "alchemy: tier 1 has 2 elements, but the 1 below it make only 1 pairs",
        ),
        (
            replace(EASY, base=(3, 3), tiers=(3, 3), shrink=(2.5, 2.5)),
            "alchemy: tier 1 has 8 elements, but the 3 below it make only 6 pairs",
        ),
        (replace(EASY, base=(0, 0)), "alchemy: fewer elements than tiers: tier 0 of 4 would be empty"),
        (replace(EASY, tiers=(1, 1)), "alchemy: a graph has 2 to 4 tiers, got 1"),
        (replace(EASY, tiers=(5, 5)), "alchemy: a graph has 2 to 4 tiers, got 5"),
        (
            replace(EASY, dead_ends=(0.9, 0.9), base=(4, 4), shrink=(0.6, 0.6)),
            "alchemy: tier 1 has 2 elements, but the 4 below it make only 1 pairs",
        ),
    ],
)
def test_impossible_parameters(preset: Preset, message: str) -> None:
    with pytest.raises(UsageError) as error:
        sample_world(Random(1), preset)
    assert error.value.message == message
    assert error.value.hint


def test_a_third_tier_can_be_put_on_the_tiny_preset() -> None:
    preset = replace(PRESETS["tiny"], tiers=(3, 3), shrink=(1.0, 1.0))
    world = sample_world(Random(0), preset)
    assert world.sizes == (3, 3, 3)
    assert len({task.target for task in sample_tasks(Random(0), world, 6)}) == 6


def test_a_world_with_one_possible_graph_is_its_own_redraw() -> None:
    world = sample_world(Random(0), replace(EASY, base=(1, 1)))
    assert redraw(Random(0), world) == world


def test_symbols_tell_the_tier_and_stay_distinct_in_large_worlds() -> None:
    assert symbols((4, 3, 2, 1)) == ("a", "b", "c", "d", "m", "n", "o", "A", "B", "N")
    large = symbols((20, 90, 40, 20))
    assert len(set(large)) == len(large)
    assert large[20 + 14 : 20 + 16] == ("m1", "n1")


def test_names_are_distinct_and_three_to_five_letters() -> None:
    names = draw_names(Random(0), 5000)
    assert len(set(names)) == 5000
    assert {len(name) for name in names} == {3, 4, 5}
    assert all(name.isalpha() and name.islower() for name in names)
