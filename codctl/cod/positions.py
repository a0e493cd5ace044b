"""Numbers by position in the pack, from trajectories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from codctl.cod.trajectory import EpisodeRecord, Trajectory


def position_metrics(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """Means by position: `success/…` (raw), `reward/…` (shaped) and `hint_correctness/…` (from position 1)."""
    found: dict[str, float] = {}
    for position, episodes in enumerate(zip(*(t.of("solve") for t in trajectories), strict=True)):
        played = [episode for episode in episodes if not episode.failed]
        if not played:
            continue
        found[f"success/position_{position}"] = float(np.mean([e.raw_reward for e in played]))
        found[f"reward/position_{position}"] = float(np.mean([e.shaped_reward for e in played]))
        knowable = sum(e.hint_score.knowable for e in played)
        if position and knowable:
            right = sum(e.hint_score.knowable_right for e in played)
            found[f"hint_correctness/position_{position}"] = right / knowable
    return found


def row(episode: EpisodeRecord, update: EpisodeRecord | None, *, foreign: bool) -> dict[str, Any]:
    """One solve episode as an evaluation row, with what became of the update that followed it.

    `foreign` tells a distractor from a task of the pack's own world.
    """
    score = episode.hint_score
    return {
        "position": episode.position,
        "foreign": foreign,
        "success": None if episode.failed else episode.raw_reward,
        "shaped_reward": None if episode.failed else episode.shaped_reward,
        "turns": episode.turns,
        "hint_right": score.right,
        "hint_wrong": score.wrong,
        "hint_missing": score.missing,
        "hint_knowable": score.knowable,
        "hint_knowable_right": score.knowable_right,
        "format_error": episode.format_error,
        "failed": episode.failed,
        "outcome": episode.outcome,
        "update_outcome": update.outcome if update else None,
        "replies": len(episode.turn_ends) + _is_missing(episode) + (update is not None),
        "words": episode.fault.words if episode.fault else "",
        "update_words": update.fault.words if update and update.fault else "",
    }


def _is_missing(episode: EpisodeRecord) -> bool:
    """Whether its last reply never came."""
    return episode.fault is not None and episode.fault.kind in ("rejected", "lost")
