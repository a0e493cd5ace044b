"""The variant `trinity`: the maps and mappings that Trinity-RFT draws for its published rows.

Sources: `generate_random_map` in trinity/common/workflows/envs/frozen_lake/utils.py and `get_random_mapping` in
trinity/common/workflows/connect_the_dots/frozen_lake/workflow_obscure.py of Trinity-RFT. The preset `tiny` is not
published; its rows and maps are drawn in the same way within its bounds.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from codctl.envs import trinity
from codctl.envs.frozen_lake.generator import MOST_MAPS, PRESETS, Preset, is_found_depth_first, is_within_bounds
from codctl.envs.frozen_lake.names import DIRECTIONS
from codctl.envs.frozen_lake.world import LakeTask, LakeWorld
from codctl.errors import UsageError

_DIRECTIONS = ("down", "right", "up", "left")  # before they are shuffled


def rows_of(split: str, preset: str) -> tuple[trinity.LakeRow, ...]:
    bounds = PRESETS[preset]
    return trinity.lake_rows(split, bounds.sizes, bounds.frozen)


def world_of(pack_seed: int) -> LakeWorld:
    """The mapping of a pack: its first code is our first, and so on."""
    directions = list(_DIRECTIONS)
    Random(pack_seed).shuffle(directions)
    first, second, third, fourth = (DIRECTIONS.index(direction) for direction in directions)
    return LakeWorld((first, second, third, fourth))


def task_of(row: trinity.LakeRow, preset: str) -> LakeTask:
    """The map of a row: tiles, then start and goal, again and again until the search accepts it.

    Raises:
        UsageError: When none of many maps is accepted, where the published generator would go on for ever.
    """
    import numpy as np

    bounds = PRESETS[preset]
    rng = np.random.default_rng(row.seed)
    ice = min(1.0, row.p)
    for _ in range(MOST_MAPS):
        tiles = rng.choice(2, (row.size, row.size), p=[ice, 1 - ice])
        start, goal = (0, 0), (0, 0)
        while start == goal:
            a, b, c, d = (int(rng.integers(0, row.size)) for _ in range(4))
            start, goal = (a, b), (c, d)
        holes = {(int(i), int(j)) for i, j in np.argwhere(tiles == 1)} - {start, goal}
        task = LakeTask(row.size, frozenset(holes), start, goal, bounds.turns or 0)
        if _is_accepted(task, bounds):
            return task if bounds.turns else replace(task, max_turns=task.shortest_path + bounds.slack)
    raise UsageError(
        f"frozen_lake: none of {MOST_MAPS} maps of side {row.size} with {ice:.0%} ice is accepted",
        hint=f"the row with seed {row.seed} asks for it",
    )


def _is_accepted(task: LakeTask, bounds: Preset) -> bool:
    return is_found_depth_first(task, bounds) if bounds.turns else is_within_bounds(task, bounds)
