"""Grid, moves and episodes of FrozenLake-Obscure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import cached_property

from codctl.envs.base import Episode, Rendering, Step
from codctl.envs.frozen_lake import text
from codctl.envs.frozen_lake.names import CODES, DELTAS, Cell


@dataclass(frozen=True)
class LakeWorld:
    """The hidden fact: which direction each code moves.

    Attributes:
        mapping: Index of the direction for each of CODES, a permutation of 0..3.
    """

    mapping: tuple[int, int, int, int]

    def code_of(self, direction: int) -> str:
        return CODES[self.mapping.index(direction)]


@dataclass(frozen=True)
class LakeTask:
    """One map with start, goal and turn budget."""

    size: int
    holes: frozenset[Cell]
    start: Cell
    goal: Cell
    max_turns: int

    def move(self, cell: Cell, direction: int) -> Cell:
        """Where a step in this direction leads; unchanged at the border."""
        row, column = cell[0] + DELTAS[direction][0], cell[1] + DELTAS[direction][1]
        return (row, column) if 0 <= row < self.size and 0 <= column < self.size else cell

    @cached_property
    def distances(self) -> dict[Cell, int]:
        """Steps to the goal from each cell that can reach it without a hole."""
        found = {self.goal: 0}
        queue = deque([self.goal])
        while queue:
            cell = queue.popleft()
            for direction in range(4):
                near = self.move(cell, direction)
                if near not in found and near not in self.holes:
                    found[near] = found[cell] + 1
                    queue.append(near)
        return found

    @property
    def shortest_path(self) -> int:
        return self.distances[self.start]


@dataclass(frozen=True)
class Move:
    """One executed action. `direction` is None when a wall kept the agent where it was."""

    code: str
    before: Cell
    after: Cell
    direction: int | None


class LakeEpisode(Episode):
    """One walk. Reward 1 at the goal, 0 on a hole, an unreadable reply or a spent turn budget."""

    def __init__(self, world: LakeWorld, task: LakeTask, rendering: Rendering) -> None:
        self._world = world
        self.task = task
        self.rendering = rendering
        self.cell = task.start
        self.moves: list[Move] = []
        super().__init__(task.max_turns)
        self.observation = text.first_observation(task, rendering)

    def act(self, action: str) -> Step:
        if self.done:
            raise ValueError("the episode is over")
        code = text.read_action(action)
        if code not in CODES:
            return self.fail(f"{code[:40]!r} is not an action; the actions are {', '.join(CODES)}")
        self.turns += 1
        before = self.cell
        direction = self._world.mapping[CODES.index(code)]
        self.cell = self.task.move(before, direction)
        move = Move(code, before, self.cell, direction if self.cell != before else None)
        self.moves.append(move)
        info = {"code": code, "before": before, "after": self.cell}
        if self.cell == self.task.goal:
            return self.end(1.0, text.ending(self, "You reached the goal."), info)
        if self.cell in self.task.holes:
            return self.end(0.0, text.ending(self, "You fell into a hole."), info, lost="hole")
        if self.turns >= self.max_turns:
            return self.end(0.0, text.ending(self, "You ran out of turns before the goal."), info)
        return Step(text.next_observation(self, move), 0.0, False, info=info)

    def transcript(self) -> str:
        return text.transcript(self)
