"""How episodes end: the lists are closed, and worlds keep to them."""

from __future__ import annotations

from typing import get_args

import pytest

from codctl import outcomes
from codctl.cod.references import play_policy
from codctl.envs.base import Family
from codctl.envs.registry import families, get_family


def test_lists_and_types_say_the_same() -> None:
    assert get_args(outcomes.FaultKind) == tuple(outcomes.FAULTS)
    assert get_args(outcomes.AnswerProblem) == tuple(outcomes.ANSWER_PROBLEMS)
    assert get_args(outcomes.UpdateProblem) == tuple(outcomes.UPDATE_PROBLEMS)
    assert get_args(outcomes.PlayedOutcome) == tuple(outcomes.PLAYED)


@pytest.mark.parametrize("family", families().values(), ids=families())
@pytest.mark.parametrize("policy", ["informed", "random"])
def test_worlds_end_in_an_outcome_of_the_list(family: Family, policy: str) -> None:
    packs = [family.pack("test", index, 3, family.presets[0]) for index in range(4)]
    for episode in (e for t in play_policy(policy, packs, "full", 0) for e in t.of("solve")):
        assert episode.outcome in {"solved", "turns", "unsolved", *family.losses}
        if family.graded:
            assert episode.outcome != "solved" or episode.raw_reward > 0
        else:
            assert (episode.outcome == "solved") == (episode.raw_reward > 0)
    assert not set(family.losses) & {*outcomes.SOLVE_OUTCOMES, *outcomes.UPDATE_OUTCOMES, *outcomes.UNREADABLE}


def test_a_lake_tells_a_hole_from_spent_turns() -> None:
    packs = [get_family("frozen_lake").pack("test", index, 3, "easy") for index in range(4)]
    found = [e for t in play_policy("random", packs, "full", 0) for e in t.of("solve")]
    said = {(episode.outcome, episode.feedback.partition(". ")[2]) for episode in found}  # first what the move did
    assert said >= {("hole", "You fell into a hole."), ("turns", "You ran out of turns before the goal.")}
