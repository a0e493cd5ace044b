"""The eight ready controllers of the preset `tiny`: each is the best feedback for one of its eight worlds."""

from __future__ import annotations

from codctl.envs.optimal_control.dynamics import Controller, ControlTask, ControlWorld, Course, run
from codctl.envs.optimal_control.optimum import feedback_gains

WORLDS = tuple(ControlWorld(a, b) for a in (0.6, 1.1) for b in (-1.2, -0.6, 0.6, 1.2))
LAWS = tuple(f"c{number}" for number in range(1, len(WORLDS) + 1))
RESIDUALS = ("near", "over", "far-over", "short", "far-short")
_NEAR, _FAR = 0.1, 0.5


def law_of(world: ControlWorld) -> str:
    """The law that was made for a world."""
    return LAWS[WORLDS.index(world)]


def controller(law: str, task: ControlTask) -> Controller:
    gains = feedback_gains(WORLDS[LAWS.index(law)], task.horizon, task.effort)
    target = task.x_target
    return lambda x, v, t: gains[t][0] * (target - x) - gains[t][1] * v


def outcome(world: ControlWorld, task: ControlTask, law: str) -> Course:
    return run(world, task, controller(law, task))


def residual(task: ControlTask, course: Course) -> str:
    """Where the point ended, seen from where it started: near the target, over it, or short of it."""
    ahead = course.xs[-1] - task.x_target
    if abs(ahead) <= _NEAR:
        return "near"
    side = "over" if (ahead > 0) == (task.x_target >= task.x0) else "short"
    return f"far-{side}" if abs(ahead) > _FAR else side
