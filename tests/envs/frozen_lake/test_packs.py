"""Packs: the same in every process, disjoint between splits, a shorter one a prefix, all tasks within bounds."""

from __future__ import annotations

import hashlib
from random import Random

import pytest

from codctl.cod.references import play_policy
from codctl.envs.base import SPLITS, Pack
from codctl.envs.frozen_lake.generator import PRESETS, Preset, sample_task
from codctl.envs.frozen_lake.world import LakeTask
from codctl.envs.registry import check_world, families, get_family
from codctl.errors import UsageError

GOLDEN = {
    ("train", 0, 4, "tiny"): "4b4cadb12e793574",
    ("train", 0, 4, "easy"): "1e36b66cfed3f792",
    ("test", 7, 8, "hard"): "687c677e4cea3513",
    ("validation", 3, 4, "easy"): "ec052b7a640c8839",
    ("train", 0, 4, "easy", "paper"): "eff9930d5b2cb79d",
    ("test", 7, 8, "hard", "paper"): "9bd69135f4287d39",
}


def digest(pack: Pack) -> str:
    tasks = [(t.size, sorted(t.holes), t.start, t.goal, t.max_turns) for t in lake_tasks(pack)]
    return hashlib.sha256(repr([pack.world.mapping, tasks]).encode()).hexdigest()[:16]


def lake_tasks(pack: Pack) -> list[LakeTask]:
    assert all(isinstance(task, LakeTask) for task in pack.tasks)
    return list(pack.tasks)  # type: ignore[arg-type]


def play_golden() -> list[str]:
    """What every scripted agent does and writes, as hashes."""
    family = get_family("frozen_lake")
    packs = [family.pack("demonstration", index, 4, "tiny") for index in range(30)]
    texts = {
        policy: repr([[(e.replies, e.hints) for e in t.episodes] for t in play_policy(policy, packs, "compact", 0)])
        for policy in (*family.policies, "demonstrator")
    }
    return [f"{policy}:{hashlib.sha256(text.encode()).hexdigest()[:16]}" for policy, text in texts.items()]


def draw_golden() -> list[str]:
    family = get_family("frozen_lake")
    return [digest(family.pack(*key)) for key in GOLDEN]


def test_packs_never_change_between_versions() -> None:
    assert draw_golden() == list(GOLDEN.values())


@pytest.mark.parametrize("hash_seed", ["1", "4711"])
def test_packs_and_scripted_play_are_the_same_in_another_process(hash_seed: str, golden_elsewhere) -> None:
    assert golden_elsewhere(__file__, hash_seed) == [*GOLDEN.values(), *play_golden()]


def test_splits_presets_and_indices_give_different_packs() -> None:
    family = get_family("frozen_lake")
    drawn = [
        digest(family.pack(split, index, 4, preset))
        for split in SPLITS
        for preset in family.presets
        for index in range(150)
    ]
    assert len(set(drawn)) == len(drawn)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_shorter_pack_is_a_prefix_of_a_longer_one(preset: str) -> None:
    family = get_family("frozen_lake")
    for index in range(10):
        short, long = (family.pack("train", index, length, preset) for length in (3, 8))
        assert (short.world, short.tasks) == (long.world, long.tasks[:3])
        assert short.id == long.id == f"frozen_lake/{preset}/train/{index}"


@pytest.mark.parametrize(
    ("preset", "sizes", "paths", "budget"),
    [
        ("tiny", {4}, range(2, 6), lambda task: task.shortest_path + 2),
        ("easy", {4, 5}, range(1, 7), lambda task: 8),
        ("hard", {6, 7}, range(1, 9), lambda task: 10),
    ],
)
def test_every_task_is_solvable_within_its_presets_bounds(preset, sizes, paths, budget) -> None:
    tasks = [t for i in range(150) for t in lake_tasks(get_family("frozen_lake").pack("train", i, 4, preset))]
    assert {task.size for task in tasks} == sizes
    assert {task.shortest_path for task in tasks} == set(paths)
    for task in tasks:
        assert task.max_turns == budget(task) >= task.shortest_path
        assert task.start != task.goal
        assert not task.holes & {task.start, task.goal}
        assert all(0 <= row < task.size and 0 <= column < task.size for row, column in task.holes)
    holes = sum(len(task.holes) for task in tasks) / sum(task.size**2 - 2 for task in tasks)
    assert holes == 0 if preset == "tiny" else 0.25 < holes < 0.4


def test_all_24_mappings_occur_about_equally_often() -> None:
    family = get_family("frozen_lake")
    worlds = [family.pack("train", index, 1, "tiny").world.mapping for index in range(2400)]
    counts = [worlds.count(mapping) for mapping in set(worlds)]
    assert len(counts) == 24
    assert min(counts) > 60
    assert max(counts) < 145


def test_bounds_that_no_map_fits_are_refused() -> None:
    with pytest.raises(UsageError, match=r"none of 10000 maps of side 4 with 0% ice has a path of 9 to 9 moves"):
        sample_task(Random(0), Preset((4, 4), (0.0, 0.0), (9, 9), 8))


def test_unknown_names_are_answered_with_the_nearest() -> None:
    assert "frozen_lake" in families()
    with pytest.raises(UsageError, match=r"unknown family 'frozenlake'; did you mean .frozen_lake."):
        get_family("frozenlake")
    family = get_family("frozen_lake")
    with pytest.raises(UsageError, match=r"did you mean .easy."):
        check_world("frozen_lake", "esay")
    with pytest.raises(UsageError, match=r"unknown policy of frozen_lake 'bayse'; did you mean .bayes."):
        family.policy("bayse")
