"""One pack told in full, for a reader: tasks, moves, and what the hints said before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from codctl.cod.trajectory import Trajectory
from codctl.envs.base import Pack, Rendering


def walkthrough(packs: Sequence[Pack], trajectories: Sequence[Trajectory]) -> dict[str, Any]:
    """Tell a typical pack: of the first fifty, the one whose number of successes is the median (the first such)."""
    candidates = trajectories[:50]
    successes = [sum(e.raw_reward for e in t.of("solve")) for t in candidates]
    typical = sorted(successes)[len(successes) // 2]
    chosen = successes.index(typical)
    return tell(packs[chosen], trajectories[chosen], "compact")


def tell(pack: Pack, trajectory: Trajectory, rendering: Rendering) -> dict[str, Any]:
    """One trajectory as plain data."""
    updates = {e.position: e for e in trajectory.of("update")}
    episodes = []
    for episode in trajectory.of("solve"):
        update = updates.get(episode.position)
        # Each reply is answered by the next observation, the last one by the feedback.
        answers = [*episode.observations[1:], episode.feedback][: len(episode.replies)]
        episodes.append(
            {
                "position": episode.position,
                "task": _task(pack, episode.position),
                "moves": [{"reply": r, "observation": o} for r, o in zip(episode.replies, answers, strict=True)],
                "success": episode.raw_reward > 0,
                "shaped_reward": episode.shaped_reward,
                "feedback": episode.feedback,
                "hint_before": episode.hints,
                "hint_after": update.hints if update else None,
                "hint_score": asdict(update.hint_score) if update else None,
            }
        )
    return {
        "pack": pack.id,
        "family": pack.family,
        "preset": pack.preset,
        "truth": pack.slots[0].family.truth(pack.world, rendering),
        "episodes": episodes,
    }


def _task(pack: Pack, position: int) -> str:
    slot = pack.slots[position]
    return slot.family.describe_task(slot.world, slot.task)
