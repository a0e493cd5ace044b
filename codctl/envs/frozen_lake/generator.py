"""Presets and the seeded generator of worlds and maps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from codctl.envs.frozen_lake.world import LakeTask, LakeWorld
from codctl.errors import UsageError

MOST_MAPS = 10_000


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


def sample_task(rng: Random, preset: Preset) -> LakeTask:
    """Draw size and ice probability once, then redraw the map until it is solvable within the preset's bounds.

    Raises:
        UsageError: When no map in MOST_MAPS is.
    """
    size = rng.randint(*preset.sizes)
    frozen = rng.uniform(*preset.frozen)
    cells = [(row, column) for row in range(size) for column in range(size)]
    fewest, most = preset.shortest_path
    for _ in range(MOST_MAPS):
        start, goal = rng.sample(cells, 2)
        holes = frozenset(cell for cell in cells if rng.random() >= frozen and cell not in (start, goal))
        task = LakeTask(size, holes, start, goal, preset.turns or 0)
        shortest = task.distances.get(start)
        if shortest is not None and fewest <= shortest <= most:
            return task if preset.turns else replace(task, max_turns=shortest + preset.slack)
    raise UsageError(
        f"frozen_lake: none of {MOST_MAPS} maps of side {size} with {frozen:.0%} ice "
        f"has a path of {fewest} to {most} moves",
        hint="more ice, or other bounds of the shortest path",
    )
