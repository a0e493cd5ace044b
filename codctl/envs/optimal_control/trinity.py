"""The variant `trinity`: worlds and tasks exactly as Trinity-RFT draws them."""

from __future__ import annotations

from random import Random

from codctl.envs import trinity
from codctl.envs.optimal_control.dynamics import ControlTask, ControlWorld
from codctl.envs.optimal_control.generator import Preset, sample_world, task_of


def world_of(seed: int, preset: Preset) -> ControlWorld:
    """The world of a pack seed; `tiny`, which is not published, has one of its eight."""
    return sample_world(Random(seed), preset)


def tasks_of(split: str, index: int, length: int, preset: Preset) -> tuple[ControlTask, ...]:
    """The rows of a pack in the published data set."""
    rows = trinity.control_rows(split, preset.x0, preset.v0, preset.x_target)
    places = trinity.pack_rows(split, index, length)
    return tuple(task_of(rows[place], preset) for place in places)
