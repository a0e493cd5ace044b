"""The best that can be done with known constants: the exact optimum, and the linear feedback that is nearly as good."""

from __future__ import annotations

import math
from functools import lru_cache

from codctl.envs.optimal_control.dynamics import TERMINAL_V, ControlTask, ControlWorld

_PRECISION = 1e-10
_MOST_STEPS = 100  # a handful suffices
Gains = tuple[tuple[float, float], ...]  # for each step: of x − x_target, of v


@lru_cache(maxsize=1024)
def best_pushes(world: ControlWorld, task: ControlTask) -> tuple[float, ...]:
    """The pushes of least loss, a quadratic in a box, exactly.

    What a push does to the loss depends only on the two weighted errors at the end, e = (x_T − x*, √2·(v_T − v*)):
    the best is u_t = clip(−g_t·e / effort), where g_t is what one unit of push at t adds to e. So e is the root of
    e − e_0 + Σ g_t clip(g_t·e / effort), which is the gradient of a convex function: Newton with a line search.
    """
    effects = _effects(world, task.horizon)
    start = _end_without_pushes(world, task)

    def slope_and_value(e: tuple[float, float]) -> tuple[float, float, float]:
        value = (e[0] * e[0] + e[1] * e[1]) / 2 - e[0] * start[0] - e[1] * start[1]
        sx, sv = e[0] - start[0], e[1] - start[1]
        for gx, gv in effects:
            s = gx * e[0] + gv * e[1]
            pushed = max(-1.0, min(1.0, s / task.effort))
            value += s * s / (2 * task.effort) if abs(s) <= task.effort else abs(s) - task.effort / 2
            sx += gx * pushed
            sv += gv * pushed
        return sx, sv, value

    e = start
    sx, sv, value = slope_and_value(e)
    for _ in range(_MOST_STEPS):
        if math.hypot(sx, sv) < _PRECISION:
            break
        free = [g for g in effects if abs(g[0] * e[0] + g[1] * e[1]) < task.effort]
        xx = 1 + sum(gx * gx for gx, _ in free) / task.effort
        xv = sum(gx * gv for gx, gv in free) / task.effort
        vv = 1 + sum(gv * gv for _, gv in free) / task.effort
        determinant = xx * vv - xv * xv
        dx, dv = (xv * sv - vv * sx) / determinant, (xv * sx - xx * sv) / determinant
        share, descent = 1.0, sx * dx + sv * dv
        while True:
            there = (e[0] + share * dx, e[1] + share * dv)
            sx, sv, lower = slope_and_value(there)
            if lower <= value + 0.25 * share * descent + _PRECISION or share < _PRECISION:
                break
            share /= 2
        e, value = there, lower
    return tuple(max(-1.0, min(1.0, -(gx * e[0] + gv * e[1]) / task.effort)) for gx, gv in effects)


def _effects(world: ControlWorld, horizon: int) -> list[tuple[float, float]]:
    """What one unit of push at each step adds to the two weighted errors at the end."""
    effects = []
    for t in range(horizon):
        powers = [world.a**k for k in range(horizon - t)]
        effects.append((world.b * sum(powers), math.sqrt(TERMINAL_V) * world.b * powers[-1]))
    return effects


def _end_without_pushes(world: ControlWorld, task: ControlTask) -> tuple[float, float]:
    x, v = task.x0, task.v0
    for _ in range(task.horizon):
        v *= world.a
        x += v
    return x - task.x_target, math.sqrt(TERMINAL_V) * (v - task.v_target)


@lru_cache(maxsize=1024)
def feedback_gains(world: ControlWorld, horizon: int, effort: float) -> Gains:
    """Gains K of u = −K·(x − x_target, v), step by step: the finite-horizon linear-quadratic regulator.

    It aims at rest (v_target = 0) and does not foresee that pushes are clipped.
    """
    a, b = world.a, world.b
    p, q, r = 1.0, 0.0, TERMINAL_V  # the symmetric matrix [[p, q], [q, r]] of the cost to go
    gains = []
    for _ in range(horizon):
        # The next state is (x + a·v + b·u, a·v + b·u).
        sums = (p + q, p + 2 * q + r)
        stiff = effort + b * b * sums[1]
        kx, kv = b * sums[0] / stiff, a * b * sums[1] / stiff
        gains.append((kx, kv))
        p, q, r = p - stiff * kx * kx, a * sums[0] - stiff * kx * kv, a * a * sums[1] - stiff * kv * kv
    return tuple(reversed(gains))
