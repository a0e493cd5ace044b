"""Which of the eight worlds of `tiny` are still possible, given what was shown."""

from __future__ import annotations

from collections.abc import Sequence

from codctl.envs.base import Episode
from codctl.envs.optimal_control.dynamics import ControlTask, ControlWorld
from codctl.envs.optimal_control.laws import LAWS, WORLDS, outcome, residual
from codctl.envs.optimal_control.world import ControlEpisode


def possible_after(episodes: Sequence[Episode], possible: Sequence[ControlWorld] = WORLDS) -> list[ControlWorld]:
    """Worlds in which every episode would have looked as it did; none where accounts contradict each other."""
    left = list(possible)
    for episode in episodes:
        if isinstance(episode, ControlEpisode) and episode.task.by_law and episode.course is not None:
            left = [world for world in left if _would_look_alike(world, episode)]
    return left


def newest_possible(past: Sequence[Episode]) -> list[ControlWorld]:
    """The same where accounts may contradict each other: from the newest back, one that leaves nothing ends memory."""
    possible = list(WORLDS)
    for episode in reversed(past):
        narrowed = possible_after([episode], possible)
        if not narrowed:
            break
        possible = narrowed
    return possible


def best_law(possible: Sequence[ControlWorld], task: ControlTask) -> str:
    """The law of the greatest expected reward in this task."""
    return max(LAWS, key=lambda law: sum(outcome(world, task, law).reward for world in possible))


def _would_look_alike(world: ControlWorld, episode: ControlEpisode) -> bool:
    assert episode.course is not None
    there = outcome(world, episode.task, episode.controller)
    if episode.rendering == "compact":
        return residual(episode.task, there) == residual(episode.task, episode.course)
    return there.rows() == episode.course.rows()
