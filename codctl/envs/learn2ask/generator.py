"""Presets and the seeded generator: which points must be known, and interviews of which some are."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from random import Random

from codctl.envs.learn2ask.points import COMPLAINTS, POINTS, members
from codctl.envs.learn2ask.world import AskTask, AskWorld

STOP_SHARE = 0.35  # of the tasks in which everything that must be known is known
OTHER_KNOWN = 0.5  # how likely a point is known that need not be


@dataclass(frozen=True)
class Preset:
    """How many points there are, and how many of them must be known."""

    points: int
    needed: int


PRESETS = {"tiny": Preset(4, 2), "easy": Preset(6, 3), "hard": Preset(8, 4)}


def sample_world(rng: Random, preset: Preset) -> AskWorld:
    needed = rng.sample(range(preset.points), preset.needed)
    return AskWorld(preset.points, sum(1 << point for point in needed))


def sample_task(rng: Random, world: AskWorld) -> AskTask:
    """An interview: all that must be known is, or one to all of it is missing; the rest is known by chance."""
    needed = members(world.needed)
    missing = [] if rng.random() < STOP_SHARE else rng.sample(needed, rng.randint(1, len(needed)))
    known = world.needed & ~sum(1 << point for point in missing)
    for point in range(world.points):
        if not world.needed >> point & 1 and rng.random() < OTHER_KNOWN:
            known |= 1 << point
    order = rng.sample(members(known), known.bit_count())
    said = tuple((point, rng.randrange(len(POINTS[point].answers))) for point in order)
    return AskTask(world.points, len(needed), said, rng.randrange(len(COMPLAINTS)))


def likelihood(needed: int, known: int) -> float:
    """How likely an interview has these points known if those are needed, up to a factor that is equal for all."""
    missing, size = (needed & ~known).bit_count(), needed.bit_count()
    return STOP_SHARE if not missing else (1 - STOP_SHARE) / size / comb(size, missing)
