"""What a series of experiments is about, and one experiment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from random import Random

import numpy as np

from codctl.envs.pde_discovery import solver
from codctl.envs.pde_discovery.templates import PRESETS, Preset
from codctl.envs.pde_discovery.terms import Array
from codctl.seeds import derive_seed

STATE_NOISE, TARGET_NOISE = 0.002, 0.0005  # standard deviations of what is measured


@dataclass(frozen=True)
class PdeWorld:
    """The hidden reaction.

    Attributes:
        preset_name: From which it was drawn, and which says how many terms the prompt admits.
        terms: Places in TERMS with coefficients, in the order of TERMS.
    """

    preset_name: str
    terms: tuple[tuple[int, float], ...]

    @property
    def preset(self) -> Preset:
        return PRESETS[self.preset_name]

    @cached_property
    def equation(self) -> dict[int, float]:
        return dict(self.terms)


@dataclass(frozen=True)
class PdeTask:
    """One trajectory to measure.

    Attributes:
        number: Its place in the pack, from 1; data sets are named after it.
        amplitude: The peak of the initial state.
        modes: Weights of the sines of which the initial state is made.
        seed: Of the noise.
        as_published: Whether the noise comes from numpy's generators, seeded as Trinity-RFT does.
    """

    number: int
    amplitude: float
    modes: tuple[float, ...]
    seed: int
    as_published: bool = False

    def measure(self, world: PdeWorld, x: Array, t: Array, measurement: int) -> tuple[Array, Array]:
        """Noisy states and targets at points.

        Args:
            world: Whose reaction drives the trajectory.
            x: Places.
            t: Moments, as many.
            measurement: How many measurements this makes; another one has other noise.
        """
        u, y = solver.sample(world.equation, solver.initial_state(self.amplitude, self.modes), x, t)
        state_noise, target_noise = self._noise(measurement, len(x))
        return u + state_noise, y + target_noise

    def _noise(self, measurement: int, points: int) -> tuple[Array, Array]:
        if self.as_published:
            rng = np.random.default_rng(np.random.SeedSequence([self.seed, self.number, measurement]))
            return rng.normal(0.0, STATE_NOISE, points), rng.normal(0.0, TARGET_NOISE, points)
        draw = Random(derive_seed("pde noise", self.seed, measurement)).gauss
        state = [draw(0.0, STATE_NOISE) for _ in range(points)]
        return np.array(state), np.array([draw(0.0, TARGET_NOISE) for _ in range(points)])
