"""A point on a line under a bounded push: its hidden constants, its tasks, and what a controller leads to.

Each step: v' = a·v + b·u, then x' = x + v', with u clipped to [−1, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

TERMINAL_V = 2.0  # weight of the squared error of the last velocity; that of the last place has 1


@dataclass(frozen=True)
class ControlWorld:
    """The hidden facts: `a` is what remains of the velocity in a step, `b` what one unit of push adds."""

    a: float
    b: float


@dataclass(frozen=True)
class ControlTask:
    """One start and one target.

    Attributes:
        x0: Place at the start.
        v0: Velocity at the start.
        x_target: Where it should end.
        v_target: With which velocity.
        horizon: Number of steps.
        effort: Price of each squared push.
        by_law: Whether an answer is one of eight ready controllers (preset `tiny`) and not an expression.
    """

    x0: float
    v0: float
    x_target: float
    v_target: float
    horizon: int
    effort: float = 0.03
    by_law: bool = False


@dataclass(frozen=True)
class Course:
    """What a controller led to: `horizon` + 1 places and velocities, `horizon` pushes (clipped)."""

    xs: tuple[float, ...]
    vs: tuple[float, ...]
    us: tuple[float, ...]
    loss: float

    @property
    def reward(self) -> float:
        return 1.0 / (1.0 + self.loss)

    def rows(self) -> list[tuple[float, float, float]]:
        """Velocity, push and next velocity of each step, with the three decimals that are shown."""
        vs, us = [round(v, 3) for v in self.vs], [round(u, 3) for u in self.us]
        return list(zip(vs, us, vs[1:], strict=False))


Controller = Callable[[float, float, int], float]  # x, v, t → u


def run(world: ControlWorld, task: ControlTask, controller: Controller) -> Course:
    """Let a controller steer for the whole horizon."""
    x, v, a, b = task.x0, task.v0, world.a, world.b
    xs, vs, us = [x], [v], []
    for t in range(task.horizon):
        u = max(-1.0, min(1.0, controller(x, v, t)))
        v = a * v + b * u
        x += v
        us.append(u)
        vs.append(v)
        xs.append(x)
    effort = task.effort * sum(u * u for u in us)
    loss = (x - task.x_target) ** 2 + TERMINAL_V * (v - task.v_target) ** 2 + effort
    return Course(tuple(xs), tuple(vs), tuple(us), loss)
