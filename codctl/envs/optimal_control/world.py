"""Episodes of Optimal Control: one answer, then the controller steers alone."""

from __future__ import annotations

from collections.abc import Sequence

from codctl.envs.base import Episode, Rendering, Step
from codctl.envs.optimal_control import text
from codctl.envs.optimal_control.action import read_element
from codctl.envs.optimal_control.dynamics import Controller, ControlTask, ControlWorld, Course, run
from codctl.envs.optimal_control.expression import Expression, ExpressionError, parse
from codctl.envs.optimal_control.laws import LAWS, controller

SOLVED = 0.9


class ControlEpisode(Episode):
    """One attempt. Reward 1 / (1 + loss), 0 where the expression fails while it runs, −0.1 where it cannot be read.

    Attributes:
        task: Start and target.
        rendering: How texts are written.
        controller: The expression or law that was read; empty before, and where none could be.
        course: What it led to; None unless it ran to the end.
    """

    fail_reward = -0.1

    def __init__(
        self, world: ControlWorld, task: ControlTask, rendering: Rendering, before: ControlEpisode | None = None
    ) -> None:
        self._world = world
        self.task = task
        self.rendering = rendering
        self.controller = ""
        self.course: Course | None = None
        super().__init__(max_turns=1)
        self.observation = text.observation(task, rendering, before)

    def act(self, action: str) -> Step:
        if self.done:
            raise ValueError("the episode is over")
        try:
            self.controller, steer = read(action, self.task, self.rendering)
        except ExpressionError as error:
            return self.fail(str(error))
        self.turns += 1
        try:
            self.course = run(self._world, self.task, steer)
        except _FailedError as failed:
            return self.end(0.0, text.stopped(failed.t, failed.reason), {"controller": self.controller}, lost="failed")
        reward = self.course.reward
        info = {"controller": self.controller, "x": self.course.xs[-1], "v": self.course.vs[-1]}
        return self.end(reward, text.ran(self), info, lost="missed", solved=reward >= SOLVED)

    def transcript(self) -> str:
        return text.transcript(self)


def read(action: str, task: ControlTask, rendering: Rendering) -> tuple[str, Controller]:
    """The controller in an answer: its text, and how it steers.

    Raises:
        ExpressionError: There is none.
    """
    if task.by_law:
        law = action.strip()
        if law not in LAWS:
            raise ExpressionError(f"{law[:40]!r} is not a law; the laws are {LAWS[0]} to {LAWS[-1]}")
        return law, controller(law, task)
    expression = read_element(action) if rendering == "full" else parse(action)
    return expression.text, _steering(expression, task)


def _steering(expression: Expression, task: ControlTask) -> Controller:
    horizon = task.horizon

    def steer(x: float, v: float, t: int) -> float:
        try:
            return expression((x, v, float(t), task.x_target, task.v_target, float(horizon), float(horizon - t)))
        except ExpressionError as error:
            raise _FailedError(t, str(error)) from None

    return steer


class _FailedError(Exception):
    """An expression had no value at a step."""

    def __init__(self, t: int, reason: str) -> None:
        super().__init__(reason)
        self.t, self.reason = t, reason


def latest(past: Sequence[Episode]) -> ControlEpisode | None:
    """The newest episode whose controller ran to the end: failures do not replace it."""
    ran = (episode for episode in reversed(past) if isinstance(episode, ControlEpisode))
    return next((episode for episode in ran if episode.course is not None), None)


def courses_of(episodes: Sequence[Episode]) -> list[Course]:
    """What was seen, oldest first."""
    found = (episode.course for episode in episodes if isinstance(episode, ControlEpisode))
    return [course for course in found if course is not None]
