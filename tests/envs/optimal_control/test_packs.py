"""Packs: the same in every process, as Trinity-RFT draws them in `trinity`, and within their bounds."""

from __future__ import annotations

import hashlib
from random import Random

import pytest

from codctl.cod.references import play_policy
from codctl.envs.base import Pack
from codctl.envs.optimal_control.generator import PRESETS
from codctl.envs.optimal_control.laws import WORLDS
from codctl.envs.optimal_control.trinity import world_of
from codctl.envs.registry import get_family
from codctl.envs.trinity import pack_seed

FAMILY = get_family("optimal_control")
GOLDEN = {
    ("train", 0, 4, "easy"): "67e88fbe000834df",
    ("test", 7, 8, "hard"): "aa17acbf633c4625",
    ("test", 7, 8, "hard", "environment"): "3166d70981c6e78c",
    ("train", 3, 4, "tiny"): "61d7ab5fae17d7e0",
}


def digest(pack: Pack) -> str:
    return hashlib.sha256(repr([pack.world, pack.tasks]).encode()).hexdigest()[:16]


def draw_golden() -> list[str]:
    return [digest(FAMILY.pack(*key)) for key in GOLDEN]


def play_golden() -> list[str]:
    """What every scripted agent does and writes, as hashes."""
    texts = {}
    for policy in (*FAMILY.policies, "demonstrator"):
        packs = [FAMILY.pack("demonstration", index, 3, preset) for preset in ("medium", "tiny") for index in range(5)]
        played = play_policy(policy, packs, "terse", 0)
        texts[policy] = repr([[(e.replies, e.hints) for e in trajectory.episodes] for trajectory in played])
    return [f"{policy}:{hashlib.sha256(text.encode()).hexdigest()[:16]}" for policy, text in texts.items()]


def test_packs_never_change_between_versions() -> None:
    assert draw_golden() == list(GOLDEN.values())


def test_packs_and_scripted_play_are_the_same_in_another_process(golden_elsewhere) -> None:
    assert golden_elsewhere(__file__, "4711") == [*GOLDEN.values(), *play_golden()]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_shorter_pack_is_a_prefix_of_a_longer_one_and_tasks_are_within_bounds(preset: str) -> None:
    bounds, signs = PRESETS[preset], []
    for index in range(40):
        short, long = (FAMILY.pack("train", index, length, preset) for length in (3, 8))
        assert (short.world, short.tasks) == (long.world, long.tasks[:3])
        assert 0.55 <= long.world.a <= 1.2
        assert 0.35 <= abs(long.world.b) <= 1.5
        assert (long.world in WORLDS) == (preset == "tiny")
        signs.append(long.world.b > 0)
        for task in long.tasks:
            assert (abs(task.x0), abs(task.v0)) <= (bounds.x0, bounds.v0)
            assert abs(task.x_target) <= bounds.x_target
            assert (task.v_target, task.horizon, task.effort) == (0.0, bounds.horizon, 0.03)
    assert 8 < sum(signs) < 32


@pytest.mark.parametrize(
    ("index", "length", "taskset", "a", "b"),
    [(0, 8, 0, 0.590055, 0.942526), (0, 4, 0, 0.677726, -0.510756), (0, 4, 1, 0.872189, 1.150136)],
)
def test_worlds_of_trinity(index: int, length: int, taskset: int, a: float, b: float) -> None:
    world = world_of(pack_seed("test", index, length, taskset), PRESETS["hard"])
    assert (world.a, world.b) == (pytest.approx(a, abs=1e-6), pytest.approx(b, abs=1e-6))
    if not taskset:
        assert FAMILY.pack("test", index, length, "hard", "trinity").world == world


@pytest.mark.parametrize(
    ("split", "starts"),
    [
        (
            "test",
            [(0.703325, -0.857030, -3.048768), (1.197864, 1.487406, -5.724291), (-1.685098, -0.957529, -2.245650)],
        ),
        ("train", [(1.095824, -0.183365, 5.737567), (0.789472, -1.217468, 7.609958)]),
    ],
)
def test_tasks_of_trinity(split: str, starts: list[tuple[float, float, float]]) -> None:
    tasks = FAMILY.pack(split, 0, 4, "hard", "trinity").tasks
    for task, start in zip(tasks, starts, strict=False):
        assert (task.x0, task.v0, task.x_target) == pytest.approx(start, abs=1e-6)
    second = FAMILY.pack(split, 1, 2, "hard", "trinity").tasks
    assert second == tasks[2:]  # rows follow each other
    assert {task.horizon for task in tasks} == {12}


def test_in_trinity_too_a_tiny_world_is_one_of_eight() -> None:
    pack = FAMILY.pack("test", 0, 4, "tiny", "trinity")
    assert pack.world in WORLDS
    assert all(task.by_law and task.x0 == round(task.x0, 1) for task in pack.tasks)


@pytest.mark.parametrize("preset", ["hard", "tiny"])
def test_a_redrawn_world_has_other_constants_of_the_same_kind(preset: str) -> None:
    world = FAMILY.pack("test", 0, 1, preset).world
    others = {FAMILY.redraw(world, Random(seed)) for seed in range(50)}
    assert world not in others
    assert all((other in WORLDS) == (preset == "tiny") for other in others)
