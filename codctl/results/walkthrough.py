"""One pack told in full, for a reader: tasks, moves, and what the hints said before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from codctl.cod.trajectory import EpisodeRecord, Trajectory
from codctl.envs.base import Pack, Rendering
from codctl.outcomes import FAULTS

CANDIDATES = 50  # packs of which one is told


def typical(told: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of the packs that were told, the one whose number of successes is the median (the first such)."""
    if not told:
        return {}
    successes = [sum(episode["success"] for episode in one["episodes"]) for one in told]
    return told[successes.index(sorted(successes)[len(successes) // 2])]


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
                "outcome": episode.outcome,
                "shaped_reward": episode.shaped_reward,
                "feedback": episode.feedback,
                "hint_before": episode.hints,
                "hint_after": update.hints if update else None,
                "hint_score": asdict(update.hint_score) if update else None,
                "update_reply": "".join(update.replies) if update else None,
                "update_problem": (update.failed or _unread(update)) if update else None,
            }
        )
    return {
        "pack": pack.id,
        "family": pack.family,
        "preset": pack.preset,
        "truth": pack.slots[0].family.truth(pack.world, rendering),
        "episodes": episodes,
    }


def _unread(update: EpisodeRecord) -> str:
    """Why an update was not read; empty where it was."""
    if not update.format_error:
        return ""
    return f"the reply {FAULTS[update.fault.kind]}" if update.fault else update.feedback


def _task(pack: Pack, position: int) -> str:
    slot = pack.slots[position]
    return slot.family.describe_task(slot.world, slot.task)
