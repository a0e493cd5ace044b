"""The map, moves over it and episodes of Grid Navigation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

from codctl.envs.base import Episode, Rendering, Step
from codctl.envs.grid_navigation import text
from codctl.envs.grid_navigation.names import Cell, Costs, entered_cells
from codctl.envs.grid_navigation.planner import best_reward
from codctl.envs.grid_navigation.presets import PRESETS, Preset

ENOUGH = 0.9  # of the best reward, to count as solved


@dataclass(frozen=True)
class GridWorld:
    """The hidden facts: what it costs to enter each cell, from 0 to 99.

    Attributes:
        costs: Rows of the square map.
        preset: From which it was drawn; says how far an agent sees.
    """

    costs: tuple[tuple[int, ...], ...]
    preset: str

    @property
    def side(self) -> int:
        return len(self.costs)

    @property
    def settings(self) -> Preset:
        return PRESETS[self.preset]

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        return tuple((row, column) for row in range(self.side) for column in range(self.side))

    def cost(self, cell: Cell) -> int:
        return self.costs[cell[0]][cell[1]]

    def near(self, cell: Cell) -> tuple[Cell, ...]:
        """The cells that are revealed when this one is entered."""
        return _around(cell, self.settings.radius, self.side)


@cache
def _around(cell: Cell, radius: int, side: int) -> tuple[Cell, ...]:
    rows, columns = (range(max(0, at - radius), min(side - 1, at + radius) + 1) for at in cell)
    return tuple((row, column) for row in rows for column in columns)


@dataclass(frozen=True)
class GridTask:
    """From where to where, in exactly how many moves."""

    start: Cell
    goal: Cell
    rounds: int


@dataclass(frozen=True)
class Move:
    """One executed move.

    Attributes:
        entered: Cells in the order in which they were entered, with their costs; the last one is where it ended.
        revealed: Cells that became known by it, in reading order.
    """

    entered: tuple[tuple[Cell, int], ...]
    revealed: tuple[Cell, ...]

    @property
    def end(self) -> Cell:
        return self.entered[-1][0]


class GridEpisode(Episode):
    """One crossing. The reward is 1 less a hundredth of the mean entered cost, or 0 away from the goal.

    Attributes:
        seen: Costs that this episode has revealed.
        carried: Costs that were on the map before it began, where the environment remembers.
        known: Both.
        total: Sum of the entered costs.
        entered: How many cells were entered.
    """

    def __init__(self, world: GridWorld, task: GridTask, rendering: Rendering, carried: Costs | None = None) -> None:
        self._world = world
        self.task = task
        self.rendering = rendering
        self.cell = task.start
        self.moves: list[Move] = []
        self.seen: dict[Cell, int] = {}
        self.carried = dict(carried or {})
        self.known = dict(self.carried)
        self.total = 0
        self.entered = 0
        super().__init__(task.rounds)
        self.observation = text.first_observation(self)

    @property
    def side(self) -> int:
        return self._world.side

    @property
    def settings(self) -> Preset:
        return self._world.settings

    @property
    def mean_cost(self) -> float:
        """Of the cells entered so far."""
        return self.total / self.entered if self.entered else 0.0

    def act(self, action: str) -> Step:
        if self.done:
            raise ValueError("the episode is over")
        end = text.read_action(action, self.rendering)
        if end is None:
            return self.fail(f"{action[:40]!r} is not a cell; write {text.form(self.rendering)}")
        self.turns += 1
        if problem := self._illegal(end):
            return self.end(0.0, text.illegal(self, end, problem), {"cell": end}, lost="illegal", solved=False)
        move = self._move(end)
        info = {"entered": move.entered}
        if self.turns < self.max_turns:
            return Step(text.next_observation(self), 0.0, False, info=info)
        if self.cell != self.task.goal:
            return self.end(0.0, text.ending(self, 0.0), info, lost="missed", solved=False)
        reward = 1.0 - self.mean_cost / 100
        return self.end(reward, text.ending(self, reward), info, lost="dear", solved=self._is_cheap(reward))

    def transcript(self) -> str:
        return text.transcript(self)

    def _illegal(self, end: Cell) -> str:
        if not (0 <= end[0] < self.side and 0 <= end[1] < self.side):
            return "it is outside the grid"
        if end == self.cell:
            return "you are there already, and every round needs a move"
        return (
            "" if end[0] == self.cell[0] or end[1] == self.cell[1] else "it is neither in your row nor in your column"
        )

    def _move(self, end: Cell) -> Move:
        world = self._world
        entered = tuple((cell, world.cost(cell)) for cell in entered_cells(self.cell, end))
        near = {cell: world.cost(cell) for crossed, _ in entered for cell in world.near(crossed)}
        move = Move(entered, tuple(sorted(near.keys() - self.known.keys())))
        self.seen |= near
        self.known |= near
        self.total += sum(cost for _, cost in entered)
        self.entered += len(entered)
        self.cell = end
        self.moves.append(move)
        return move

    def _is_cheap(self, reward: float) -> bool:
        return reward >= ENOUGH * best_reward(self._world, self.task)
