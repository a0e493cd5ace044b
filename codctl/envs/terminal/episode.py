"""One attempt at one task at the simulated shell."""

from __future__ import annotations

from codctl.envs.base import Episode, Rendering, Step
from codctl.envs.terminal import text
from codctl.envs.terminal.parsing import MAX_LINE
from codctl.envs.terminal.shell import Ran, Shell
from codctl.envs.terminal.tasks import MAX_STEPS, TerminalTask, TerminalWorld, goal


class TerminalEpisode(Episode):
    """Reward 1 as soon as all checks hold, 0 when the steps are spent.

    With house rules each command is a step and is followed by the checks: a chain of three commands is three steps.
    Without them (`paper`) it is as published: a line is a step, and the checks come after it.
    """

    def __init__(self, world: TerminalWorld, task: TerminalTask, rendering: Rendering) -> None:
        self.task = task
        self.rendering = rendering
        self.site = task.site_in(world)
        self.shell = Shell(self.site, world.rules)
        self.checks = goal(task.steps, self.site, world.rules)
        self.log: list[Ran] = []
        self.as_published = world.rules is None
        super().__init__(MAX_STEPS)
        self.observation = text.first_observation(self)

    def act(self, action: str) -> Step:
        if self.done:
            raise ValueError("the episode is over")
        if not action.strip():
            return self.fail("the command line is empty")
        if self.as_published:
            ran = self.shell.run_line(action.strip(), MAX_LINE, lambda: False)
            self.turns += 1
        else:
            ran = self.shell.run_line(action.strip(), self.max_turns - self.turns, self.is_solved)
            self.turns += len(ran)
        self.log += ran
        info = {"ran": tuple(ran)}
        if self.is_solved():
            return self.end(1.0, text.ending(self, ran, "The task is done."), info)
        if self.turns >= self.max_turns:
            return self.end(0.0, text.ending(self, ran, text.unfinished(self)), info)
        return Step(text.next_observation(self, ran), 0.0, False, info=info)

    def transcript(self) -> str:
        return text.transcript(self)

    def is_solved(self) -> bool:
        return not any(check.problem(self.shell) for check in self.checks)
