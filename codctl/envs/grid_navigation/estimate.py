"""What to expect of cells that were not seen: near ones cost alike."""

from __future__ import annotations

import numpy as np

from codctl.envs.grid_navigation.generator import MOST_COST
from codctl.envs.grid_navigation.names import Guesses
from codctl.envs.grid_navigation.planner import Array

_LENGTH = 0.22  # of the kernel, in sides of the grid
_NOISE = 0.01  # of the kernel's variance


def by_kernel(known: Guesses, side: int, mean_cost: float) -> Array:
    """Gaussian-kernel regression around the mean; known cells cost what they cost."""
    if not known:
        return flat(known, side, mean_cost)
    seen_K2 = np.array(list(known), dtype=np.float64)
    cells_N2 = np.argwhere(np.ones((side, side))).astype(np.float64)
    over_K = np.array(list(known.values()), dtype=np.float64) - mean_cost
    weights_K = np.linalg.solve(_kernel(seen_K2, seen_K2, side) + _NOISE * np.eye(len(known)), over_K)
    guess_SS = (mean_cost + _kernel(cells_N2, seen_K2, side) @ weights_K).reshape(side, side)
    return _with_known(np.clip(guess_SS, 0, MOST_COST), known)


def flat(known: Guesses, side: int, cost: float) -> Array:
    """The same cost for every unknown cell."""
    return _with_known(np.full((side, side), cost), known)


def _with_known(costs_SS: Array, known: Guesses) -> Array:
    for cell, cost in known.items():
        costs_SS[cell] = cost
    return costs_SS


def _kernel(a_N2: Array, b_K2: Array, side: int) -> Array:
    """How alike the costs of two cells are, by their distance."""
    apart_NK = ((a_N2[:, None] - b_K2[None]) ** 2).sum(axis=-1)
    alike_NK: Array = np.exp(-apart_NK / (2 * (_LENGTH * side) ** 2))
    return alike_NK
