"""The reference agents against the table of docs/worlds/grid_navigation.md, and what sets them apart."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from codctl.cod.references import play_policy
from codctl.cod.trajectory import Trajectory
from codctl.envs.base import Rendering
from codctl.envs.registry import get_family

FAMILY = get_family("grid_navigation")
PACKS = 40


@cache
def played(policy: str, preset: str, variant: str = "hints_only", rendering: Rendering = "compact") -> list[Trajectory]:
    packs = [FAMILY.pack("test", index, 4, preset, variant) for index in range(PACKS)]
    return play_policy(policy, packs, rendering, 0)


def rewards(policy: str, preset: str, variant: str = "hints_only") -> NDArray[np.float64]:
    return np.array([[e.raw_reward for e in t.of("solve")] for t in played(policy, preset, variant)])


# Measured by others' code on other packs: 400 of each.
TABLE = {
    ("train", "informed"): ([0.926, 0.932, 0.929, 0.929], 0.003),
    ("train", "bayes"): ([0.833, 0.918, 0.923, 0.925], 0.006),
    ("train", "forget"): ([0.833, 0.841, 0.830, 0.836], 0.006),
    ("train", "random"): ([0.717, 0.722, 0.712, 0.716], 0.009),
    ("tiny", "informed"): ([0.873, 0.868, 0.883, 0.883], 0.008),
    ("tiny", "bayes"): ([0.764, 0.830, 0.863, 0.871], 0.010),
    ("tiny", "forget"): ([0.764, 0.765, 0.775, 0.784], 0.010),
    ("tiny", "random"): ([0.735, 0.738, 0.767, 0.758], 0.010),
}


@pytest.mark.parametrize(("preset", "policy"), TABLE)
def test_the_table(preset: str, policy: str) -> None:
    """Within four standard errors of both measurements together."""
    expected, error = TABLE[preset, policy]
    found_PS = rewards(policy, preset)
    errors_S = np.hypot(found_PS.std(axis=0, ddof=1) / PACKS**0.5, error)
    assert (np.abs(found_PS.mean(axis=0) - expected) < 4 * errors_S).all()


@pytest.mark.parametrize("preset", ["train", "tiny"])
def test_memory_is_what_makes_later_tasks_better(preset: str) -> None:
    gain_P = (rewards("bayes", preset) - rewards("forget", preset))[:, 1:].mean(axis=1)
    assert gain_P.mean() > 4 * gain_P.std(ddof=1) / PACKS**0.5 > 0
    assert (rewards("bayes", preset)[:, 0] == rewards("forget", preset)[:, 0]).all()


def test_nobody_gets_more_than_the_informed() -> None:
    for policy in ("bayes", "forget", "random"):
        assert (rewards(policy, "tiny") <= rewards("informed", "tiny") + 1e-9).all()
    assert {e.outcome for t in played("informed", "tiny") for e in t.of("solve")} == {"solved"}
    assert {e.outcome for t in played("random", "tiny") for e in t.of("solve")} == {"solved", "dear"}


def test_to_an_ideal_agent_it_does_not_matter_who_remembers() -> None:
    """In `environment` the map does what `bayes` does by itself; `forget` looks away from both."""
    for policy in ("bayes", "forget"):
        remembering = [FAMILY.pack("test", index, 3, "train", "environment") for index in range(4)]
        alone = [
            replace(pack, slots=tuple(replace(slot, family=FAMILY) for slot in pack.slots)) for pack in remembering
        ]
        moves = [
            [e.actions for t in play_policy(policy, packs, "compact", 0) for e in t.of("solve")]
            for packs in (remembering, alone)
        ]
        assert moves[0] == moves[1]


def test_bayes_notes_all_that_can_be_known_and_nothing_wrong() -> None:
    for trajectory in played("bayes", "tiny"):
        for update in trajectory.of("update"):
            score = update.hint_score
            assert (score.wrong, score.right) == (0, score.knowable)


@pytest.mark.parametrize("rendering", ["full", "compact"])
def test_the_demonstrator_notes_some_of_it_and_errs(rendering: Rendering) -> None:
    updates = [u.hint_score for t in played("demonstrator", "tiny", rendering=rendering) for u in t.of("update")]
    right, wrong, knowable = (
        sum(getattr(u, name) for u in updates) for name in ("knowable_right", "wrong", "knowable")
    )
    assert 0.3 < right / knowable < 0.8
    assert 0.05 < wrong / (right + wrong) < 0.35
    assert all(not e.format_error for t in played("demonstrator", "tiny", rendering=rendering) for e in t.episodes)
