"""Packs: the same in every process, disjoint between splits, within the bounds of preset and variant."""

from __future__ import annotations

import hashlib
from collections import Counter
from random import Random
from typing import Any

import pytest

from codctl.cod.references import play_policy
from codctl.envs.alchemy.world import AlchemyWorld
from codctl.envs.base import SPLITS, Pack
from codctl.envs.registry import get_family

ALCHEMY = get_family("alchemy")
KINDS = [(preset, variant) for preset in ALCHEMY.presets for variant in ALCHEMY.variants]

GOLDEN = {
    ("train", 0, 4, "tiny", "default"): "467ab7dfaa5c5ae3",
    ("train", 0, 4, "easy", "default"): "f80f311d068ff254",
    ("train", 0, 4, "easy", "paper"): "b27ce206821de65a",
    ("test", 7, 8, "hard", "default"): "55364c83f0babe0c",
    ("test", 7, 8, "hard", "paper"): "229010e7dd5a9243",
    ("validation", 3, 16, "easy", "default"): "be40db61dc9a1ff1",
}


def digest(pack: Pack) -> str:
    world = pack.world
    tasks = [(t.target, t.max_turns, *_material(t)) for t in pack.tasks]  # type: ignore[attr-defined]
    return hashlib.sha256(repr([world.sizes, world.names, world.recipes, tasks]).encode()).hexdigest()[:16]


def _material(task: Any) -> tuple[float, tuple[int, ...]]:
    # Of unlimited tasks as they were written when the hashes were taken: their packs have not changed since.
    return (task.surplus, (1,) if task.is_limited else ())


def draw_golden() -> list[str]:
    return [digest(ALCHEMY.pack(*key)) for key in GOLDEN]


def play_golden() -> list[str]:
    """What every scripted agent does and writes, as hashes."""
    packs = [ALCHEMY.pack("demonstration", index, 4, preset) for preset in ALCHEMY.presets for index in range(3)]
    texts = {
        policy: repr([[(e.replies, e.hints) for e in t.episodes] for t in play_policy(policy, packs, "compact", 0)])
        for policy in (*ALCHEMY.policies, "demonstrator")
    }
    return [f"{policy}:{hashlib.sha256(text.encode()).hexdigest()[:16]}" for policy, text in texts.items()]


def test_packs_never_change_between_versions() -> None:
    assert draw_golden() == list(GOLDEN.values())


def test_packs_and_scripted_play_are_the_same_in_another_process(golden_elsewhere) -> None:
    assert golden_elsewhere(__file__, "4711") == [*GOLDEN.values(), *play_golden()]


def test_splits_presets_variants_and_indices_give_different_packs() -> None:
    kinds = [kind for kind in KINDS if kind[1] != "trinity"]  # there the split is no part of a world's seed
    drawn = [digest(ALCHEMY.pack(split, index, 4, *kind)) for split in SPLITS for kind in kinds for index in range(100)]
    assert len(set(drawn)) == len(drawn)


@pytest.mark.parametrize(("preset", "variant"), [kind for kind in KINDS if kind[1] != "trinity"])
def test_a_shorter_pack_is_a_prefix_of_a_longer_one(preset: str, variant: str) -> None:
    as_published = variant == "paper" and preset != "tiny"  # there the length says how many targets are drawn
    for index in range(10):
        for shorter, longer in ((1, 8), (3, 8), (9, 16), (17, 32)):
            short, long = (ALCHEMY.pack("train", index, length, preset, variant) for length in (shorter, longer))
            assert short.world == long.world
            assert as_published or short.tasks == long.tasks[:shorter]
    assert (ALCHEMY.stable_length, ALCHEMY.in_variant("paper").stable_length) == (8, 1)


def worlds(preset: str, variant: str, count: int = 300, length: int = 4) -> list[AlchemyWorld]:
    return [ALCHEMY.pack("train", index, length, preset, variant).world for index in range(count)]


@pytest.mark.parametrize(
    ("preset", "tiers", "base", "recipes", "targets"),
    [
        ("tiny", {2}, {3}, {1}, {5}),
        ("easy", {3, 4}, {3, 4}, {1}, {2, 3, 4}),
        ("hard", {3, 4}, {4, 5, 6}, {1, 2}, set(range(3, 16))),
    ],
)
def test_the_paper_variant_keeps_the_published_bounds(preset, tiers, base, recipes, targets) -> None:
    drawn = worlds(preset, "paper")
    assert {len(world.sizes) for world in drawn} == tiers
    assert {world.sizes[0] for world in drawn} == base
    assert {len(world.recipes[e]) for world in drawn for e in world.craftable} == recipes
    assert {len(world.craftable) for world in drawn} <= targets


@pytest.mark.parametrize(("preset", "variant"), KINDS)
def test_recipes_use_the_tier_below_and_no_pair_twice(preset: str, variant: str) -> None:
    for world in worlds(preset, variant, 100):
        assert all(world.recipes[e] == () for e in world.tiers[0])
        assert len(world.products) == sum(map(len, world.recipes)) == ALCHEMY.facts(world)
        for (first, second), product in world.products.items():
            assert first <= second
            assert first in world.below(product)
            assert second in world.below(product)


def test_hard_has_dead_ends_within_their_share() -> None:
    drawn = worlds("hard", "default")
    unused = []
    for world in drawn:
        used = {element for pair in world.products for element in pair}
        unused.append(sum(e not in used for e in world.tiers[0]) / world.sizes[0])
    assert 0 in unused
    assert max(unused) > 0.15


@pytest.mark.parametrize("preset", ["easy", "hard"])
@pytest.mark.parametrize("length", [4, 8, 16, 32, 64])
def test_default_packs_never_repeat_a_target(preset: str, length: int) -> None:
    for index in range(20):
        pack = ALCHEMY.pack("train", index, length, preset)
        assert len({task.target for task in pack.tasks}) == length  # type: ignore[attr-defined]
        assert len(pack.world.craftable) >= max(8, length)


def test_tiny_packs_go_round_again_in_the_same_order() -> None:
    for variant in ALCHEMY.variants:
        targets = [t.target for t in ALCHEMY.pack("train", 0, 20, "tiny", variant).tasks]  # type: ignore[attr-defined]
        assert sorted(targets[:5]) == list(range(3, 8))
        assert targets == targets[:5] * 4


def test_every_pair_is_equally_likely_to_make_an_element() -> None:
    counts = Counter(world.recipes[3][0] for world in worlds("tiny", "default", 1200, 1))
    assert len(counts) == 6
    assert 150 < min(counts.values()) <= max(counts.values()) < 260


@pytest.mark.parametrize(("preset", "variant"), KINDS)
def test_a_redrawn_world_looks_the_same_and_hides_other_recipes(preset: str, variant: str) -> None:
    for index in range(50):
        pack = ALCHEMY.pack("train", index, 4, preset, variant)
        other = ALCHEMY.redraw(pack.world, Random(index))
        assert other.products != pack.world.products
        assert (other.sizes, other.names) == (pack.world.sizes, pack.world.names)
        assert other == ALCHEMY.redraw(pack.world, Random(index))
