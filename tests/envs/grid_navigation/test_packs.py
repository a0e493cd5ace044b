"""Packs: Trinity-RFT's own to the last number, codctl's in every process, tasks that can be done."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from codctl.cod.references import play_policy
from codctl.envs.base import SPLITS, Pack
from codctl.envs.grid_navigation.generator import NumpyDraws, draw_task, draw_world
from codctl.envs.grid_navigation.planner import can_reach
from codctl.envs.grid_navigation.presets import PRESETS
from codctl.envs.grid_navigation.world import GridTask
from codctl.envs.registry import get_family
from codctl.envs.trinity import stable_pack_seed
from codctl.seeds import text_digest

GOLDEN = {
    ("train", 0, 4, "train", "hints_only"): "2b4602672158c302",
    ("test", 3, 4, "tiny", "hints_only"): "6f64df024b8a78e0",
    ("test", 3, 2, "huge", "environment"): "b8ed800d4125c299",
    ("test", 1, 8, "hard", "trinity"): "32a68c781849409a",
}
PLAYED = "ca5eca109cc64301"
FAMILY = get_family("grid_navigation")


def digest(pack: Pack) -> str:
    return text_digest(repr((pack.world.costs, [vars(task) for task in pack.tasks])))


def draw_golden() -> list[str]:
    return [digest(FAMILY.pack(*key)) for key in GOLDEN]


def play_golden() -> list[str]:
    packs = [FAMILY.pack("test", 0, 2, "train", variant) for variant in FAMILY.variants]
    said = [
        (policy, [e.replies for e in trajectory.episodes])
        for policy in (*FAMILY.policies, "demonstrator")
        for trajectory in play_policy(policy, packs, "full", 0)
    ]
    return [text_digest(repr(said))]


def test_packs_and_play_are_what_they_were() -> None:
    assert draw_golden() == list(GOLDEN.values())
    assert play_golden() == [PLAYED]


def test_another_process_draws_and_plays_the_same(golden_elsewhere: Callable[[str, str], list[str]]) -> None:
    assert golden_elsewhere(__file__, "1") == [*GOLDEN.values(), PLAYED]


def test_published_worlds_and_tasks() -> None:
    """Values that the published code gives for its own settings of evaluation and of the 27B training."""
    pack = FAMILY.pack("test", 0, 8, "hard", "trinity")
    assert stable_pack_seed([(0, row) for row in range(8)]) == 16109384123688988985
    assert pack.world.costs[0] == (2, 5, 11, 20, 28, 33, 33, 28, 20, 12, 6, 2, 0, 0)
    assert sum(map(sum, pack.world.costs)) == 5777
    assert pack.tasks[:3] == (
        GridTask((2, 11), (8, 11), 3),
        GridTask((11, 3), (9, 5), 3),
        GridTask((3, 2), (1, 1), 5),
    )
    trained = FAMILY.pack("train", 0, 4, "train", "trinity").world
    assert trained.costs[0] == (83, 89, 76, 51, 28, 12, 4, 1, 0)
    assert (trained.side, sum(map(sum, trained.costs))) == (9, 1906)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_task_can_be_done_within_its_presets_bounds(preset: str) -> None:
    bounds = PRESETS[preset]
    sides, rounds, means = set(), set(), []
    for index in range(150):
        pack = FAMILY.pack("train", index, 3, preset)
        sides.add(pack.world.side)
        costs = [cost for row in pack.world.costs for cost in row]
        assert (min(costs), max(costs)) == (0, 99)
        means.append(sum(costs) / len(costs))
        for task in pack.tasks:
            rounds.add(task.rounds)
            assert task.start != task.goal
            assert can_reach(task.start, task.goal, task.rounds)
    assert sides == set(range(bounds.sides[0], bounds.sides[1] + 1))
    assert rounds == set(range(bounds.rounds[0], bounds.rounds[1] + 1))
    assert sum(means) / len(means) == pytest.approx(bounds.mean_cost, abs=3)


def test_packs_differ_and_shorter_ones_are_prefixes() -> None:
    drawn = [digest(FAMILY.pack(s, i, 3, "tiny", v)) for s in SPLITS for v in FAMILY.variants for i in range(60)]
    assert len(set(drawn)) == len(drawn)
    for variant in ("hints_only", "environment"):
        short, long = (FAMILY.pack("test", 5, length, "train", variant) for length in (2, 8))
        assert (short.world, short.tasks) == (long.world, long.tasks[:2])
    assert FAMILY.pack("test", 5, 2, "train", "trinity").world != FAMILY.pack("test", 5, 8, "train", "trinity").world


def test_both_kinds_of_draws_make_alike_worlds() -> None:
    """The same generator, once with Python's numbers and once with numpy's."""
    means = []
    for make in (Random, NumpyDraws):
        worlds = [draw_world(make(seed), "tiny") for seed in range(1000)]
        tasks = [draw_task(make(seed), world) for seed, world in enumerate(worlds)]
        means.append(
            (
                sum(sum(map(sum, world.costs)) for world in worlds) / 16_000,
                sum(task.rounds for task in tasks) / 1000,
            )
        )
    assert means[0][0] == pytest.approx(means[1][0], abs=1.5)  # standard error .3 each
    assert means[0][1] == pytest.approx(means[1][1], abs=0.1)


def test_a_redrawn_world_has_the_same_size_and_other_costs() -> None:
    world = FAMILY.pack("train", 0, 1, "train").world
    other = FAMILY.redraw(world, Random(0))
    assert (other.side, other.preset) == (world.side, world.preset)
    assert other.costs != world.costs
