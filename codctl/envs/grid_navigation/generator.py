"""The seeded generator of maps and tasks, as published: the order of the draws decides which worlds come out.

Source: trinity/common/workflows/connect_the_dots/grid_navigation/env.py of Trinity-RFT, which draws from numpy; the
variants of codctl draw the same from `random.Random`.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from codctl.envs.grid_navigation.names import Cell
from codctl.envs.grid_navigation.presets import PRESETS, Preset
from codctl.envs.grid_navigation.world import GridTask, GridWorld

MOST_COST = 99
_HEIGHTS = (0.8, 1.2)


class Draws(Protocol):
    """What the generator draws from."""

    def uniform(self, a: float, b: float) -> float: ...

    def randint(self, a: int, b: int) -> int:
        """An integer from a to b, both included."""
        ...


class NumpyDraws:
    """The draws of Trinity-RFT."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.default_rng(seed)

    def uniform(self, a: float, b: float) -> float:
        return float(self._generator.uniform(a, b))

    def randint(self, a: int, b: int) -> int:
        return int(self._generator.integers(a, b + 1))


def draw_world(draws: Draws, preset: str) -> GridWorld:
    return GridWorld(_draw_costs(draws, draws.randint(*PRESETS[preset].sides), PRESETS[preset]), preset)


def redraw_world(draws: Draws, world: GridWorld) -> GridWorld:
    """Another map of the same size."""
    while (costs := _draw_costs(draws, world.side, world.settings)) == world.costs:
        pass
    return GridWorld(costs, world.preset)


def draw_task(draws: Draws, world: GridWorld) -> GridTask:
    """Draw the number of rounds, then start and a random walk of so many moves until it ends elsewhere."""
    rounds = draws.randint(*world.settings.rounds)
    while True:
        start = (draws.randint(0, world.side - 1), draws.randint(0, world.side - 1))
        goal = start
        for _ in range(rounds):
            goal = _draw_move(draws, goal, world.side)
        if goal != start:
            return GridTask(start, goal, rounds)


def _draw_move(draws: Draws, cell: Cell, side: int) -> Cell:
    is_vertical = bool(draws.randint(0, 1))
    here = cell[0] if is_vertical else cell[1]
    there = draws.randint(0, side - 2)
    there += there >= here
    return (there, cell[1]) if is_vertical else (cell[0], there)


def _draw_costs(draws: Draws, side: int, preset: Preset) -> tuple[tuple[int, ...], ...]:
    """Add up the hills, stretch the sum to [0, 1], square it, and scale it to whole costs."""
    heights_SS = np.zeros((side, side))
    for _ in range(preset.hills):
        heights_SS += _draw_hill(draws, side, preset)
    heights_SS -= heights_SS.min()
    top = heights_SS.max()
    if top > 0:
        heights_SS /= top
    costs = np.rint(heights_SS**2 * MOST_COST).astype(int).tolist()
    return tuple(tuple(row) for row in costs)


def _draw_hill(draws: Draws, side: int, preset: Preset) -> NDArray[np.float64]:
    """An elliptic bump that may lie anywhere and at any angle."""
    row, column = draws.uniform(0, 1), draws.uniform(0, 1)
    narrowest, widest = preset.scales
    long = draws.uniform(narrowest, widest)
    short = draws.uniform(narrowest, long)
    angle = draws.uniform(0, math.pi)
    height = draws.uniform(*_HEIGHTS)
    places = np.linspace(0, 1, side)
    down, across = places[:, None] - row, places[None, :] - column
    along = math.cos(angle) * down + math.sin(angle) * across
    beside = -math.sin(angle) * down + math.cos(angle) * across
    bump: NDArray[np.float64] = height * np.exp(-0.5 * ((along / long) ** 2 + (beside / short) ** 2))
    return bump
