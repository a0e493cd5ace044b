"""Trajectories and how far they may start."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from codctl.envs.pde_discovery import solver
from codctl.envs.pde_discovery.solver import CHECK, FINE, LIMIT, Grid, initial_state, is_stable, sample
from codctl.envs.pde_discovery.templates import PRESETS, Template
from codctl.envs.pde_discovery.terms import TERMS, Array, columns, reaction, slope_columns


def test_slopes_are_those_of_the_terms() -> None:
    u = np.linspace(-0.5, 2.9, 35)
    numeric = (columns(u + 1e-6) - columns(u - 1e-6)) / 2e-6
    assert np.allclose(slope_columns(u), numeric, rtol=1e-6, atol=1e-6)
    assert columns(np.zeros(1)).tolist() == [[0.0] * len(TERMS)]


def test_diffusion_alone_decays_as_it_must() -> None:
    u, y = sample({}, np.sin(np.pi * FINE.x), np.array([0.5, 0.25]), np.array([0.1, 0.2]))
    assert u == pytest.approx(np.exp(-(np.pi**2) * np.array([0.1, 0.2])) * [1, np.sin(np.pi / 4)], rel=6e-3)
    assert y.tolist() == [0, 0]


def test_a_trajectory_step_by_step() -> None:
    """Against the scheme solved plainly, and against the published target: the residual of the scheme."""
    grid, equation, state = Grid(17, 41), {0: 1.5, 2: -0.7}, initial_state(1.3, (0.4, -0.9), Grid(17, 41))
    dx, dt = 1 / 16, 1 / 40
    matrix = np.eye(15) * (1 + 2 * dt / dx**2) - (np.eye(15, k=1) + np.eye(15, k=-1)) * dt / dx**2
    rows = [state]
    for _ in range(40):
        inner = rows[-1][1:-1]
        rows.append(np.pad(np.linalg.solve(matrix, inner + dt * reaction(equation, inner)), 1))
    step, node = 7, 5
    now, after = rows[step], rows[step + 1]
    residual = (after[node] - now[node]) / dt - (after[node + 1] - 2 * after[node] + after[node - 1]) / dx**2
    u, y = sample(equation, state, np.array([node * dx]), np.array([step * dt]), grid)
    assert (u[0], y[0]) == pytest.approx((now[node], residual))
    halfway, _ = sample(equation, state, np.array([(node + 0.5) * dx]), np.array([(step + 0.5) * dt]), grid)
    assert halfway[0] == pytest.approx((now[node] + now[node + 1] + after[node] + after[node + 1]) / 4)
    last, _ = sample(equation, state, np.array([node * dx]), np.array([1.0]), grid)
    assert last[0] == pytest.approx(rows[40][node])


@pytest.mark.parametrize("modes", [(0.3,), (-1.2,), (0.5, -2.0)])
def test_initial_states_are_arches_of_their_amplitude(modes: tuple[float, ...]) -> None:
    state = initial_state(2.2, modes)
    assert (state.max(), state.min(), state[0], state[-1]) == pytest.approx((2.2, 0.0, 0.0, 0.0))


@pytest.mark.parametrize("name", ["train", "hard"])
def test_the_largest_amplitude_is_that_of_the_published_calibration(name: str) -> None:
    """Every template at every corner of the magnitudes: stable there, and not a 64th of the range further."""
    preset = PRESETS[name]
    assert _all_hold(preset.templates, preset.amplitude)
    assert not _all_hold(preset.templates, preset.amplitude + LIMIT / 64)


def _all_hold(templates: tuple[Template, ...], amplitude: float) -> bool:
    """As published: from an arch, on the grid for checks, only the states after diffusion are looked at."""
    corners = [
        {term: sign * size for (term, sign), size in zip(template, sizes, strict=True)}
        for template in templates
        for sizes in product((0.5, 2.0), repeat=len(template))
    ]
    return all(_holds(equation, amplitude * np.sin(np.pi * CHECK.x)[1:-1]) for equation in corners)


def _holds(equation: dict[int, float], state: Array) -> bool:
    with np.errstate(all="ignore"):
        for _ in range(60):  # what leaves the range does so at once; later on all decay
            state = solver._diffusion(CHECK) @ (state + CHECK.dt * reaction(equation, state))
            if not np.abs(state).max() < LIMIT:
                return False
    return True


def test_the_short_cut_says_stable_only_of_what_is() -> None:
    rng = np.random.default_rng(0)
    shortened = 0
    for _ in range(60):
        terms = rng.choice(len(TERMS), 2, replace=False)
        equation = dict(zip(terms.tolist(), rng.uniform(-2, 2, 2).tolist(), strict=True))
        state = initial_state(float(rng.uniform(0.1, 2.9)), tuple(rng.normal(size=2)), CHECK)
        if solver._is_bounded(equation, float(state.max())):
            shortened += 1
            for _ in range(100):
                inner = state[1:-1] + CHECK.dt * reaction(equation, state[1:-1])
                state = np.pad(solver._diffusion(CHECK) @ inner, 1)
                assert -1e-12 <= state.min() <= state.max() < LIMIT
    assert shortened > 20
    assert not is_stable({4: 2.0}, np.full((CHECK.nodes, 1), 2.9))
