"""The exact planner against trying every way, and what is expected of cells that were not seen."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import numpy as np
import pytest

from codctl.envs.grid_navigation.estimate import by_kernel, flat
from codctl.envs.grid_navigation.names import Cell, entered_cells
from codctl.envs.grid_navigation.planner import best_reward, can_reach, cheapest, costs_of
from codctl.envs.grid_navigation.world import GridTask, GridWorld
from codctl.envs.registry import get_family


def moves(cell: Cell, side: int) -> Iterator[Cell]:
    yield from ((cell[0], column) for column in range(side) if column != cell[1])
    yield from ((row, cell[1]) for row in range(side) if row != cell[0])


def every_way(world: GridWorld, here: Cell, goal: Cell, rounds: int, entered: tuple[int, ...]) -> Iterator[float]:
    """Mean costs of all ways to the goal."""
    if not rounds:
        if here == goal:
            yield sum(entered) / len(entered)
        return
    for there in moves(here, world.side):
        crossed = tuple(map(world.cost, entered_cells(here, there)))
        yield from every_way(world, there, goal, rounds - 1, entered + crossed)


def test_the_planner_finds_what_trying_every_way_finds() -> None:
    family, tried = get_family("grid_navigation"), 0
    for index in range(40):
        for preset in ("tiny", "train"):
            pack = family.pack("test", index, 2, preset)
            for task in pack.tasks:
                if (2 * pack.world.side) ** task.rounds < 7000:
                    best = min(every_way(pack.world, task.start, task.goal, task.rounds, ()))
                    assert best_reward(pack.world, task) == pytest.approx(1 - best / 100, abs=1e-9)
                    tried += 1
    assert tried > 80


def test_a_plan_goes_on_from_what_was_paid() -> None:
    """After dear cells a long way over cheap ones pays that would not pay at the beginning."""
    world = GridWorld(((0, 50, 50), (10, 90, 10), (10, 10, 10)), "tiny")
    costs_SS = costs_of(world)
    for total, entered in ((0, 0), (180, 2), (5, 3)):
        plan = cheapest(costs_SS, (0, 2), (1, 0), 2, total, entered)
        paid = (float(total),) * bool(entered) + (0,) * max(0, entered - 1)
        best = min(every_way(world, (0, 2), (1, 0), 2, paid))  # type: ignore[arg-type]
        assert plan.mean == pytest.approx(best)
        assert plan.moves[-1] == (1, 0)


@pytest.mark.parametrize("rounds", [0, 1, 2, 3])
def test_what_can_be_reached(rounds: int) -> None:
    reached = {(1, 1)}
    for _ in range(rounds):
        reached = {there for cell in reached for there in moves(cell, 4)}
    for cell in ((row, column) for row in range(4) for column in range(4)):
        assert can_reach((1, 1), cell, rounds) == (cell in reached)


def test_a_world_of_equal_costs() -> None:
    world = GridWorld(((7,) * 5,) * 5, "tiny")
    assert best_reward(world, GridTask((0, 0), (4, 4), 3)) == pytest.approx(0.93)


def test_near_cells_are_expected_to_cost_alike() -> None:
    known = {(2, 2): 80, (7, 7): 0}
    guess_SS = by_kernel(known, 10, 25.0)
    assert (guess_SS[2, 2], guess_SS[7, 7]) == (80, 0)  # what is known stays
    assert 60 < guess_SS[2, 3] < 80
    assert guess_SS[7, 8] < 10
    assert guess_SS[2, 3] > guess_SS[2, 5] > 20
    assert guess_SS[0, 9] == pytest.approx(25, abs=3)
    assert (by_kernel({}, 4, 21.0) == 21).all()
    assert (flat({(0, 1): 3}, 2, 9.0) == np.array([[9, 3], [9, 9]])).all()


def test_the_kernel_guesses_better_than_the_mean() -> None:
    family, rng = get_family("grid_navigation"), Random(0)
    errors = []
    for index in range(40):
        world = family.pack("test", index, 1, "train").world
        known = {cell: world.cost(cell) for cell in rng.sample(world.cells, 20)}
        truth_SS = costs_of(world)
        guesses = by_kernel(known, world.side, 25.4), flat(known, world.side, 25.4)
        errors.append([np.abs(guess_SS - truth_SS).mean() for guess_SS in guesses])
    kernel, mean = np.mean(errors, axis=0)
    assert kernel < mean / 2
