"""Packs: the same in every process, a shorter one a prefix, drawn as the protocol says."""

from __future__ import annotations

import hashlib
from random import Random

import pytest

from codctl.cod.references import play_policy
from codctl.envs.base import SPLITS, Pack
from codctl.envs.learn2ask.generator import PRESETS
from codctl.envs.registry import get_family

GOLDEN = {
    ("train", 0, 4, "tiny"): "91d39baecb3d8ff0",
    ("test", 7, 8, "easy"): "a84eb8be60b3332d",
    ("validation", 3, 4, "hard"): "c5de5a9e998b3dab",
}


def digest(pack: Pack) -> str:
    return hashlib.sha256(repr([pack.world, pack.tasks]).encode()).hexdigest()[:16]


def draw_golden() -> list[str]:
    family = get_family("learn2ask")
    return [digest(family.pack(*key)) for key in GOLDEN]


def play_golden() -> list[str]:
    """What every scripted agent does and writes, as hashes."""
    family = get_family("learn2ask")
    packs = [family.pack("demonstration", index, 4, "hard") for index in range(6)]
    texts = {
        policy: repr([[(e.replies, e.hints) for e in t.episodes] for t in play_policy(policy, packs, "compact", 0)])
        for policy in (*family.policies, "demonstrator")
    }
    return [f"{policy}:{hashlib.sha256(text.encode()).hexdigest()[:16]}" for policy, text in texts.items()]


def test_packs_never_change_between_versions() -> None:
    assert draw_golden() == list(GOLDEN.values())


def test_packs_and_scripted_play_are_the_same_in_another_process(golden_elsewhere) -> None:
    assert golden_elsewhere(__file__, "4711") == [*GOLDEN.values(), *play_golden()]


def test_splits_presets_and_indices_give_different_packs() -> None:
    family = get_family("learn2ask")
    drawn = [digest(family.pack(s, index, 8, preset)) for s in SPLITS for preset in PRESETS for index in range(100)]
    assert len(set(drawn)) == len(drawn)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_shorter_pack_is_a_prefix_of_a_longer_one(preset: str) -> None:
    family = get_family("learn2ask")
    for index in range(10):
        short, long = (family.pack("train", index, length, preset) for length in (3, 8))
        assert (short.world, short.tasks) == (long.world, long.tasks[:3])


@pytest.mark.parametrize("preset", PRESETS)
def test_tasks_are_drawn_as_the_protocol_says(preset: str) -> None:
    family, bounds = get_family("learn2ask"), PRESETS[preset]
    packs = [family.pack("train", index, 8, preset) for index in range(400)]
    stops, missing, others = 0, [0] * (bounds.needed + 1), 0
    for pack in packs:
        assert pack.world.needed.bit_count() == bounds.needed
        assert pack.world.needed < 1 << bounds.points
        for task in pack.tasks:
            count = (pack.world.needed & ~task.known).bit_count()
            stops += count == 0
            missing[count] += 1
            others += (task.known & ~pack.world.needed).bit_count()
    tasks = 8 * len(packs)
    assert stops / tasks == pytest.approx(0.35, abs=0.03)
    for count in missing[1:]:
        assert count / tasks == pytest.approx(0.65 / bounds.needed, abs=0.03)
    assert others / tasks == pytest.approx((bounds.points - bounds.needed) / 2, abs=0.06)


def test_redraw_keeps_the_look_and_changes_the_facts() -> None:
    family = get_family("learn2ask")
    for index, preset in enumerate(PRESETS):
        world = family.pack("train", index, 1, preset).world
        other = family.redraw(world, Random(index))
        assert other != world
        assert (other.points, other.needed.bit_count()) == (world.points, world.needed.bit_count())
