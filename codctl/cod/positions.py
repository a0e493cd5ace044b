"""Numbers by position in the pack, from trajectories."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from codctl.cod.trajectory import Trajectory


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
