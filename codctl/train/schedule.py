"""Which weights each step is played with, and which steps are therefore played at once: functions of the recipe alone.

Steps are rollout steps, from 1. A version is the number of steps that the learner had made of some weights.
"""

from __future__ import annotations

from dataclasses import dataclass

from codctl.config.schema import EngineConfig


@dataclass(frozen=True)
class Wave:
    """Steps that share their weights: nothing keeps them from being played at once."""

    version: int
    first: int
    last: int

    @property
    def steps(self) -> range:
        return range(self.first, self.last + 1)

    def __str__(self) -> str:
        return f"step {self.first}" if self.first == self.last else f"steps {self.first} to {self.last}"


def version_for(step: int, engine: EngineConfig) -> int:
    """The version with which a step is played."""
    learned = max(0, step - 1 - engine.overlap - engine.lead * engine.sync_every)
    return learned // engine.sync_every * engine.sync_every


def wave_of(step: int, engine: EngineConfig, total: int) -> Wave:
    """All steps that are played with the weights of this one.

    Args:
        step: One of them.
        engine: Section of the recipe.
        total: The last step of the training.
    """
    version = version_for(step, engine)
    first = last = step
    while first > 1 and version_for(first - 1, engine) == version:
        first -= 1
    while last < total and version_for(last + 1, engine) == version:
        last += 1
    return Wave(version, first, last)


def versions_ahead(learned: int, engine: EngineConfig, total: int) -> set[int]:
    """The versions up to `learned` with which steps after it are played."""
    found: set[int] = set()
    for step in range(learned + 1, total + 1):
        if (version := version_for(step, engine)) > learned:
            break
        found.add(version)
    return found
