"""The cheapest way on a map, exactly.

A plan of exactly R moves is wanted with the least mean cost over all cells that it enters, that is the least
(total + Σ cost) / (entered + count): a fractional programme. Dinkelbach's method solves it by a few sums: for a guess
λ of the mean, the least Σ (cost − λ) is a dynamic programme over (rounds left, cell); the mean of the plan that has it
is a better guess, until nothing changes. Source: W. Dinkelbach, On nonlinear fractional programming, Management
Science 13, 1967.

Suffixes of array names: S side of the grid, R rounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from codctl.envs.grid_navigation.names import Cell, entered_cells

if TYPE_CHECKING:
    from codctl.envs.grid_navigation.world import GridTask, GridWorld

Array = NDArray[np.float64]
_SAME = 1e-9  # costs


@dataclass(frozen=True)
class Plan:
    """Moves, and the mean cost of all cells entered by their end."""

    moves: tuple[Cell, ...]
    mean: float


def cheapest(costs_SS: Array, here: Cell, goal: Cell, rounds: int, total: float = 0.0, entered: int = 0) -> Plan:
    """The plan of exactly `rounds` moves that ends on the goal with the least mean cost.

    Args:
        costs_SS: Cost of each cell, or what is expected of it.
        here: Where it begins.
        goal: Where it must end; it can be reached (`can_reach`).
        rounds: At least 1.
        total: Costs of the cells entered so far in the task.
        entered: How many those are.
    """
    best = Plan((), np.inf)
    mean = float(costs_SS.max()) + 1.0  # no plan can be as dear
    while True:
        moves = _least(costs_SS - mean, here, goal, rounds)
        cells = [cell for start, end in zip((here, *moves), moves, strict=False) for cell in entered_cells(start, end)]
        mean = (total + sum(float(costs_SS[cell]) for cell in cells)) / (entered + len(cells))
        if mean >= best.mean - _SAME:
            return best
        best = Plan(moves, mean)


def can_reach(cell: Cell, goal: Cell, rounds: int) -> bool:
    """Whether some way of exactly so many rook moves ends on the goal; on grids of side 3 and more."""
    if rounds == 0:
        return cell == goal
    return rounds > 1 or (cell[0] == goal[0]) != (cell[1] == goal[1])


@lru_cache(maxsize=4096)  # a group's rollouts share their tasks
def best_reward(world: GridWorld, task: GridTask) -> float:
    """What an agent that knows the map gets."""
    return 1.0 - cheapest(costs_of(world), task.start, task.goal, task.rounds).mean / 100


@lru_cache(maxsize=256)
def costs_of(world: GridWorld) -> Array:
    costs_SS = np.array(world.costs, dtype=np.float64)
    costs_SS.setflags(write=False)
    return costs_SS


def _least(weights_SS: Array, here: Cell, goal: Cell, rounds: int) -> tuple[Cell, ...]:
    """The moves with the least sum of weights over the entered cells."""
    values_RSS = _values(weights_SS, goal, rounds)
    moves = []
    for left in range(rounds - 1, -1, -1):
        here = _best_move(weights_SS, values_RSS[left], here)
        moves.append(here)
    return tuple(moves)


def _values(weights_SS: Array, goal: Cell, rounds: int) -> list[Array]:
    """Least sum from each cell with 0, 1, … `rounds` − 1 moves left; infinite where the goal is out of reach."""
    last_SS = np.full(weights_SS.shape, np.inf)
    last_SS[goal] = 0.0
    values = [last_SS]
    for _ in range(rounds - 1):
        across = _along_rows(weights_SS, values[-1])
        down = _along_rows(weights_SS.T, values[-1].T).T
        values.append(np.minimum(across, down))
    return values


def _along_rows(weights_SS: Array, values_SS: Array) -> Array:
    """Least of (weights entered + value there) over all moves within each cell's row.

    To the right of a cell the weights entered are a difference of sums from the left, so that one running minimum
    serves all cells of a row; to the left likewise.
    """
    upto_SS = np.cumsum(weights_SS, axis=1)
    before_SS = upto_SS - weights_SS
    right_SS = np.minimum.accumulate((upto_SS + values_SS)[:, ::-1], axis=1)[:, ::-1]
    left_SS = np.minimum.accumulate(values_SS - before_SS, axis=1)
    best_SS = np.full(weights_SS.shape, np.inf)
    best_SS[:, :-1] = right_SS[:, 1:] - upto_SS[:, :-1]
    best_SS[:, 1:] = np.minimum(best_SS[:, 1:], left_SS[:, :-1] + before_SS[:, 1:])
    return best_SS


def _best_move(weights_SS: Array, values_SS: Array, here: Cell) -> Cell:
    row, column = here
    across, column_there = _best_along(weights_SS[row], values_SS[row], column)
    down, row_there = _best_along(weights_SS[:, column], values_SS[:, column], row)
    return (row, column_there) if across <= down else (row_there, column)


def _best_along(weights_S: Array, values_S: Array, here: int) -> tuple[float, int]:
    """The best place to go to on one line, with its sum."""
    upto_S = np.cumsum(weights_S)
    sums_S = values_S + upto_S - upto_S[here]
    sums_S[:here] = values_S[:here] + (upto_S[here] - weights_S[here]) - (upto_S[:here] - weights_S[:here])
    sums_S[here] = np.inf
    there = int(sums_S.argmin())
    return float(sums_S[there]), there
