"""Sizes of worlds and tasks.

Sources: examples/research_cod/get_grid_navigation_data.py and exp_plan_final/train/grid_navigation.yaml (`train-8b`),
grid_navigation_27b.yaml (`train`), bench/eval_mixed_opd_steps_0to60_all_domains.yaml (`hard`), and the defaults of
trinity/common/workflows/connect_the_dots/grid_navigation/env.py (`huge`) in Trinity-RFT. `tiny` is codctl's own.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """Bounds from which a world and its tasks are drawn.

    Attributes:
        sides: Smallest and largest side of the grid.
        hills: Bumps that are added up to the costs.
        scales: Smallest and largest width of a hill, in sides of the grid.
        rounds: Fewest and most moves of a task.
        radius: How far from an entered cell costs are revealed, diagonals counted as one.
        mean_cost: Of a cell, over worlds: what an agent expects of a cell that it knows nothing about. Measured.
    """

    sides: tuple[int, int]
    hills: int
    scales: tuple[float, float]
    rounds: tuple[int, int]
    radius: int
    mean_cost: float


PRESETS = {
    "train": Preset((8, 12), 4, (0.15, 0.45), (3, 5), 1, 25.4),
    "tiny": Preset((4, 4), 2, (0.15, 0.45), (2, 3), 0, 21.7),
    "train-8b": Preset((8, 12), 4, (0.10, 0.35), (4, 6), 2, 18.2),
    "hard": Preset((10, 14), 5, (0.15, 0.45), (3, 5), 1, 27.2),
    "huge": Preset((12, 16), 6, (0.10, 0.35), (6, 10), 1, 21.0),
}
