"""Presets and the seeded generator of worlds and maps.

Two rules say which maps are accepted. codctl's own takes those whose shortest path is within the preset's bounds. The
published one searches depth first, left before up, right and down, and marks each cell when it first enters it. It
misses short paths through cells that it has entered on a longer way, and it accepts a path of one move more than its
limit. Source: `is_valid` in trinity/common/workflows/envs/frozen_lake/utils.py of Trinity-RFT, with the limits 6 and 8
of `env_max_steps` in examples/research_cod/exp_plan_final.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from codctl.envs.frozen_lake.world import LakeTask, LakeWorld
from codctl.errors import UsageError

MOST_MAPS = 10_000
_SEARCHED = (1, 3, 0, 2)  # down, right, up, left: the last one put on the stack is searched first


@dataclass(frozen=True)
class Preset:
    """Bounds from which a task is drawn.

    Attributes:
        sizes: Smallest and largest side of the grid.
        frozen: Smallest and largest probability that a tile is ice.
        shortest_path: Smallest and largest number of moves from start to goal.
        turns: Turn budget; None gives the shortest path plus `slack`.
        slack: See `turns`.
    """

    sizes: tuple[int, int]
    frozen: tuple[float, float]
    shortest_path: tuple[int, int]
    turns: int | None
    slack: int = 0


PRESETS = {
    "tiny": Preset((4, 4), (1.0, 1.0), (2, 5), None, 2),
    "easy": Preset((4, 5), (0.6, 0.7), (1, 6), 8),
    "hard": Preset((6, 7), (0.6, 0.7), (1, 8), 10),
}


def sample_world(rng: Random) -> LakeWorld:
    mapping = [0, 1, 2, 3]
    rng.shuffle(mapping)
    return LakeWorld((mapping[0], mapping[1], mapping[2], mapping[3]))


def sample_task(rng: Random, preset: Preset, *, as_published: bool = False) -> LakeTask:
    """Draw size and ice probability once, then redraw the map until it is accepted.

    Raises:
        UsageError: When no map in MOST_MAPS is.
    """
    size = rng.randint(*preset.sizes)
    frozen = rng.uniform(*preset.frozen)
    cells = [(row, column) for row in range(size) for column in range(size)]
    is_accepted: Callable[[LakeTask, Preset], bool] = is_found_depth_first if as_published else is_within_bounds
    for _ in range(MOST_MAPS):
        start, goal = rng.sample(cells, 2)
        holes = frozenset(cell for cell in cells if rng.random() >= frozen and cell not in (start, goal))
        task = LakeTask(size, holes, start, goal, preset.turns or 0)
        if is_accepted(task, preset):
            return task if preset.turns else replace(task, max_turns=task.shortest_path + preset.slack)
    fewest, most = preset.shortest_path
    raise UsageError(
        f"frozen_lake: none of {MOST_MAPS} maps of side {size} with {frozen:.0%} ice "
        f"has a path of {fewest} to {most} moves",
        hint="more ice, or other bounds of the shortest path",
    )


def is_within_bounds(task: LakeTask, preset: Preset) -> bool:
    """Whether the shortest path has a permitted number of moves."""
    fewest, most = preset.shortest_path
    shortest = task.distances.get(task.start)
    return shortest is not None and fewest <= shortest <= most


def is_found_depth_first(task: LakeTask, preset: Preset) -> bool:
    """Whether the published search finds the goal. It leaves a branch after the preset's largest number of moves."""
    limit = preset.shortest_path[1]
    stack, entered = [(task.start, 0)], set()
    while stack:
        cell, moves = stack.pop()
        if moves > limit or cell in entered:
            continue
        entered.add(cell)
        for direction in _SEARCHED:
            near = task.move(cell, direction)
            if near == task.goal:
                return True
            if near != cell and near not in task.holes:
                stack.append((near, moves + 1))
    return False
