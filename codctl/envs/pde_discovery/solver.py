"""u_t = u_xx + f(u) on the unit interval with u = 0 at both ends: diffusion implicit, reaction explicit.

Source: pde_numeric.py of Trinity-RFT. There a target is the residual of the scheme, (next − now)/dt − u_xx of next. By
the scheme itself that is f(now), so no residual is computed here. A trajectory is followed only as far as it is asked
for: nothing but the rows next to the sampled moments is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from codctl.envs.pde_discovery.terms import Array, Equation, reaction

LIMIT = 3.0  # of |u|


@dataclass(frozen=True)
class Grid:
    """A grid in space and time.

    Attributes:
        nodes: In space, with both ends.
        moments: In time, with both ends.
    """

    nodes: int
    moments: int

    @property
    def x(self) -> Array:
        return np.linspace(0.0, 1.0, self.nodes)

    @property
    def dt(self) -> float:
        return 1.0 / (self.moments - 1)


FINE = Grid(257, 2001)  # on which trajectories are sampled
CHECK = Grid(65, 401)  # on which the published generator checks stability


def initial_state(amplitude: float, modes: Sequence[float], grid: Grid = FINE) -> Array:
    """A sum of sines, lifted until it is nowhere negative, under an arch, with its peak at the amplitude."""
    x = grid.x
    waves = np.sum([c * np.sin(m * np.pi * x) for m, c in enumerate(modes, 1)], axis=0)
    scale = np.abs(waves).max()
    waves = waves / scale if scale > 1e-12 else waves
    shape = np.sin(np.pi * x) * (waves - waves.min())
    state: Array = amplitude * shape / max(shape.max(), 1e-12)
    state[0] = state[-1] = 0.0
    return state


def sample(equation: Equation, state: Array, x: Array, t: Array, grid: Grid = FINE) -> tuple[Array, Array]:
    """State u and target f(u) at points of one trajectory, both interpolated between the four nodes around a point.

    Args:
        equation: The reaction.
        state: The initial one on the grid, shape (nodes,).
        x: In (0, 1), shape (points,).
        t: In [0, 1], shape (points,).
        grid: On which the trajectory is computed.
    """
    column = np.minimum((x * (grid.nodes - 1)).astype(int), grid.nodes - 2)
    row = np.minimum((t * (grid.moments - 1)).astype(int), grid.moments - 2)
    rows = _follow(grid, equation, state, sorted({*row.tolist(), *(row + 1).tolist()}))
    right, later = x * (grid.nodes - 1) - column, t * (grid.moments - 1) - row
    u, y = np.zeros_like(x), np.zeros_like(x)
    for step, time_weight in ((row, 1 - later), (row + 1, later)):
        for node, weight in ((column, 1 - right), (column + 1, right)):
            corner = np.array([rows[s][n] for s, n in zip(step.tolist(), node.tolist(), strict=True)])
            u += time_weight * weight * corner
            y += time_weight * weight * reaction(equation, corner)
    return u, y


def _follow(grid: Grid, equation: Equation, state: Array, wanted: list[int]) -> dict[int, Array]:
    """The rows of these moments."""
    rows = {0: state}
    inner, step = state[1:-1], 0
    matrix = _diffusion(grid)
    for moment in wanted:
        while step < moment:
            inner = _clipped(matrix @ _clipped(inner + grid.dt * reaction(equation, inner)))
            step += 1
        rows[moment] = np.concatenate([[0.0], inner, [0.0]])
    return rows


def _clipped(state: Array) -> Array:
    return np.minimum(np.maximum(state, -LIMIT), LIMIT)  # several times as fast as np.clip on short rows


def is_stable(equation: Equation, states: Array) -> bool:
    """Whether no trajectory reaches the limit, on the published grid for this check.

    Args:
        equation: The reaction.
        states: Initial ones on `CHECK`, shape (nodes, trajectories), none negative.
    """
    if _is_bounded(equation, float(states.max())):
        return True
    inner, matrix = states[1:-1], _diffusion(CHECK)
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(CHECK.moments - 1):
            rhs = inner + CHECK.dt * reaction(equation, inner)
            inner = matrix @ rhs
            if not (np.abs(rhs).max() < LIMIT and np.abs(inner).max() < LIMIT):
                return False
    return True


def _is_bounded(equation: Equation, peak: float) -> bool:
    """Whether some height between peak and limit cannot be passed, which saves following the trajectories.

    That is so where the explicit step keeps every state from 0 to that height between 0 and it; the implicit one then
    only averages. (f(u) < 0 alone would not do: a high power makes a step overshoot.)
    """
    heights = np.linspace(0.0, LIMIT, 97)
    stepped = heights + CHECK.dt * reaction(equation, heights)
    highest, lowest = np.maximum.accumulate(stepped), np.minimum.accumulate(stepped)
    return bool(((heights >= peak) & (heights < LIMIT) & (highest <= heights) & (lowest >= 0)).any())


@cache
def _diffusion(grid: Grid) -> Array:
    """The inverse of 1 − dt·∂xx on the inner nodes."""
    ratio = grid.dt * (grid.nodes - 1) ** 2
    inner = grid.nodes - 2
    matrix = (1 + 2 * ratio) * np.eye(inner) - ratio * (np.eye(inner, k=1) + np.eye(inner, k=-1))
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)
