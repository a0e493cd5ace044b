"""Presets, and the seeded generator of worlds and tasks.

Source: `get_optimal_control_data.py` in examples/research_cod of Trinity-RFT for easy, medium and hard, and
trinity/common/workflows/connect_the_dots/optimalcontrol/env.py for the hidden constants. `tiny` is codctl's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from codctl.envs.optimal_control.dynamics import ControlTask, ControlWorld
from codctl.envs.optimal_control.laws import WORLDS

_A = (0.55, 1.2)
_B = (0.35, 1.5)  # in size; either sign


@dataclass(frozen=True)
class Preset:
    """Number of steps, and bounds around 0 of the start and of the target, which is always at rest."""

    horizon: int
    x0: float
    v0: float
    x_target: float
    by_law: bool = False


PRESETS = {
    "easy": Preset(8, 1.0, 0.5, 3.0),
    "medium": Preset(12, 2.0, 1.0, 5.0),
    "hard": Preset(12, 2.0, 1.5, 8.0),
    "tiny": Preset(6, 1.0, 0.0, 3.0, by_law=True),
}


def sample_world(rng: Random, preset: Preset) -> ControlWorld:
    """Draw the hidden constants; one uniform number decides both sign and size of b."""
    if preset.by_law:
        return rng.choice(WORLDS)
    a = rng.uniform(*_A)
    offset = rng.random() * 2 * (_B[1] - _B[0])
    return ControlWorld(a, offset - _B[1] if offset < _B[1] - _B[0] else offset - _B[1] + 2 * _B[0])


def sample_task(rng: Random, preset: Preset) -> ControlTask:
    """Draw start and target."""
    x0, v0, x_target = (rng.uniform(-bound, bound) for bound in (preset.x0, preset.v0, preset.x_target))
    return task_of((x0, v0, x_target), preset)


def task_of(drawn: tuple[float, float, float], preset: Preset) -> ControlTask:
    """The task with this start and target; in `tiny` with the one decimal that its texts show (and no −0.0)."""
    x0, v0, x_target = (round(value, 1) + 0.0 for value in drawn) if preset.by_law else drawn
    return ControlTask(x0, v0, x_target, 0.0, preset.horizon, by_law=preset.by_law)
