"""Packs: the same in every process and version, apart in every split, a shorter one a prefix."""

from __future__ import annotations

import hashlib

import pytest

from codctl.cod.references import play_policy
from codctl.envs.base import SPLITS
from codctl.envs.terminal.family import Terminal

FAMILY = Terminal()
GOLDEN = {
    ("train", 0, 4, "easy", "shared_world"): "e74e5e72d9619f3d",
    ("test", 7, 8, "hard", "shared_world"): "bd8f7965345f6003",
    ("validation", 3, 4, "easy", "paper"): "ac90191b2ced0fe6",
    ("train", 5, 4, "hard", "paper"): "6bc6e597c2f591ff",
}


def digest(split: str, index: int, length: int, preset: str, variant: str) -> str:
    pack = FAMILY.pack(split, index, length, preset, variant)
    return hashlib.sha256(
        repr((pack.world, pack.tasks, [task.site_in(pack.world).local.root for task in pack.tasks])).encode()
    ).hexdigest()[:16]


def draw_golden() -> list[str]:
    return [digest(*key) for key in GOLDEN]


def play_golden() -> list[str]:
    """What every scripted agent does and writes, as hashes."""
    packs = [FAMILY.pack("test", i, 3, FAMILY.presets[i % 2], FAMILY.variants[i // 2 % 2]) for i in range(12)]
    texts = {
        policy: repr([[(e.replies, e.hints) for e in t.episodes] for t in play_policy(policy, packs, "compact", 0)])
        for policy in FAMILY.policies
    }
    return [f"{policy}:{hashlib.sha256(text.encode()).hexdigest()[:16]}" for policy, text in texts.items()]


def test_packs_never_change_between_versions() -> None:
    assert draw_golden() == list(GOLDEN.values())


def test_packs_and_scripted_play_are_the_same_in_another_process(golden_elsewhere) -> None:
    assert golden_elsewhere(__file__, "4711") == [*GOLDEN.values(), *play_golden()]


def test_splits_presets_variants_and_indices_give_different_packs() -> None:
    drawn = [
        digest(split, index, 2, preset, variant)
        for split in SPLITS
        for preset in FAMILY.presets
        for variant in FAMILY.variants
        for index in range(25)
    ]
    assert len(set(drawn)) == len(drawn)


@pytest.mark.parametrize("variant", FAMILY.variants)
@pytest.mark.parametrize("preset", FAMILY.presets)
def test_a_shorter_pack_is_a_prefix_of_a_longer_one(preset: str, variant: str) -> None:
    for index in range(5):
        short, long = (FAMILY.pack("train", index, length, preset, variant) for length in (3, 8))
        assert (short.world, short.tasks) == (long.world, long.tasks[:3])


def test_names_of_packs_say_the_second_variant() -> None:
    assert FAMILY.pack("train", 2, 1, "easy").id == "terminal/easy/train/2"
    assert FAMILY.pack("train", 2, 1, "easy", "paper").id == "terminal/easy-paper/train/2"
