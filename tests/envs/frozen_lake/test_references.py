"""The oracles: exact values, and the published reference table."""

from __future__ import annotations

from functools import cache
from math import sqrt

import pytest

from codctl.cod.references import play_policy
from codctl.cod.trajectory import Trajectory
from codctl.envs.frozen_lake.belief import ANY, PERMUTATIONS, Planner, consistent
from codctl.envs.frozen_lake.names import Cell
from codctl.envs.frozen_lake.world import LakeTask
from codctl.envs.registry import get_family

PACKS = {"bayes": 600, "informed": 100, "random": 300}


@cache
def played(policy: str, preset: str) -> list[Trajectory]:
    family = get_family("frozen_lake")
    packs = [family.pack("test", index, 6, preset) for index in range(PACKS[policy])]
    return play_policy(policy, packs, "compact", 0)


def success(policy: str, preset: str) -> list[float]:
    return [sum(t.of("solve")[s].raw_reward for t in played(policy, preset)) / PACKS[policy] for s in range(6)]


@pytest.mark.parametrize(
    ("preset", "reference"),
    [("easy", [0.618, 0.94, 0.99, 0.99, 1.0, 1.0]), ("hard", [0.573, 0.92, 0.99, 0.995, 1.0, 1.0])],
)
def test_bayes_reproduces_the_reference_table(preset: str, reference: list[float]) -> None:
    for found, expected in zip(success("bayes", preset), reference, strict=True):
        sampling_error = sqrt(expected * (1 - expected) / PACKS["bayes"])
        assert found == pytest.approx(expected, abs=3 * sampling_error + 0.01)  # the table itself is rounded


@pytest.mark.parametrize(("preset", "reference"), [("easy", 0.618), ("hard", 0.573)])
def test_exact_value_of_the_first_task(preset: str, reference: float) -> None:
    family = get_family("frozen_lake")
    tasks = [family.pack("train", index, 4, preset).tasks for index in range(300)]
    values = [start_value(task) for pack in tasks for task in pack]  # type: ignore[arg-type]
    assert sum(values) / len(values) == pytest.approx(reference, abs=0.015)


def start_value(task: LakeTask) -> float:
    return Planner(task).value(task.start, ANY, task.max_turns)


def test_bayes_is_as_good_as_its_own_value_says() -> None:
    """The first task, played, against the exact value of the very same tasks."""
    for preset in ("tiny", "easy"):
        family = get_family("frozen_lake")
        tasks = [family.pack("test", index, 1, preset).tasks[0] for index in range(PACKS["bayes"])]
        exact = sum(start_value(task) for task in tasks) / len(tasks)  # type: ignore[arg-type]
        assert success("bayes", preset)[0] == pytest.approx(exact, abs=3 * sqrt(0.25 / len(tasks)))


@pytest.mark.parametrize("preset", ["tiny", "easy", "hard"])
def test_informed_always_succeeds_by_a_shortest_path(preset: str) -> None:
    assert success("informed", preset) == [1.0] * 6
    family = get_family("frozen_lake")
    for index, trajectory in enumerate(played("informed", preset)[:30]):
        tasks = family.pack("test", index, 6, preset).tasks
        assert [e.turns for e in trajectory.of("solve")] == [task.shortest_path for task in tasks]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("preset", "most"), [("tiny", 0.35), ("easy", 0.35), ("hard", 0.3)])
def test_random_is_low_and_flat(preset: str, most: float) -> None:
    found = success("random", preset)
    assert sum(found) / 6 < most
    assert max(found) - min(found) < 6 * sqrt(0.25 / PACKS["random"])


def test_bayes_writes_only_true_hints_and_all_that_can_be_known() -> None:
    for trajectory in played("bayes", "easy"):
        for update in trajectory.of("update"):
            score = update.hint_score
            assert score.wrong == 0
            assert score.right == score.knowable == score.knowable_right


# --- the planner against brute force ----------------------------------------------------------------------------------


def brute_force(task: LakeTask, cell: Cell, possible: frozenset[tuple[int, ...]], turns: int) -> float:
    """Best chance of success by trying everything, without any of the planner's short cuts."""
    if cell == task.goal:
        return 1.0
    if cell in task.holes or turns == 0:
        return 0.0
    best = 0.0
    for code in range(4):
        groups: dict[Cell, list[tuple[int, ...]]] = {}
        for mapping in possible:
            groups.setdefault(task.move(cell, mapping[code]), []).append(mapping)
        value = sum(
            len(rest) / len(possible) * brute_force(task, after, frozenset(rest), turns - 1)
            for after, rest in groups.items()
        )
        best = max(best, value)
    return best


SMALL = [
    LakeTask(2, frozenset(), (0, 0), (1, 1), 3),
    LakeTask(3, frozenset({(0, 1), (1, 1)}), (0, 0), (2, 1), 4),
    LakeTask(3, frozenset({(1, 1)}), (1, 0), (1, 2), 5),
    LakeTask(3, frozenset(), (1, 1), (0, 1), 2),
    LakeTask(4, frozenset({(1, 2), (2, 0)}), (3, 3), (1, 1), 4),
]


@pytest.mark.parametrize("task", SMALL)
def test_planner_equals_brute_force(task: LakeTask) -> None:
    for belief in (ANY, ANY & consistent(0, 0b0011), ANY & consistent(2, 0b0100)):
        possible = frozenset(p for i, p in enumerate(PERMUTATIONS) if belief >> i & 1)
        exact = brute_force(task, task.start, possible, task.max_turns)
        assert Planner(task).value(task.start, belief, task.max_turns) == pytest.approx(exact, abs=1e-12)


def test_first_move_value_by_hand() -> None:
    """Two turns, goal next to the start in the middle of an open grid: a wrong move can never be repaired in time."""
    task = LakeTask(3, frozenset(), (1, 1), (0, 1), 1)
    assert Planner(task).action_values((1, 1), ANY, 1) == [0.25] * 4
    cornered = LakeTask(2, frozenset(), (0, 0), (0, 1), 2)
    # up and left are walls (nothing lost but a turn, one code of three is then right); down costs the game.
    assert Planner(cornered).value((0, 0), ANY, 2) == pytest.approx(1 / 4 + 2 / 4 * 1 / 3)
    assert Planner(cornered).value((0, 0), ANY, 0) == 0.0
