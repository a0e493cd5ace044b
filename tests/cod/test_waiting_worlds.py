"""Worlds whose actions wait for something: other episodes go on, and a world that does not answer ends its own only."""

from __future__ import annotations

import asyncio
import time

import pytest

from codctl.cod.references import play_policy, reference_player
from codctl.cod.rollout import play_all
from codctl.cod.trajectory import Trajectory
from codctl.envs.base import Family, Rendering, Step, act_now
from codctl.envtools.validate.family import validate_family
from tests.example_world.keypad import Door, Keypad, Lock, Visit

PAUSE_S = 0.02


class SlowVisit(Visit):
    """Looks at a lock that is far away."""

    async def act(self, action: str) -> Step:  # type: ignore[override]
        await asyncio.sleep(PAUSE_S)
        return super().act(action)


class DeadVisit(Visit):
    deadline_s = 0.05

    async def act(self, action: str) -> Step:  # type: ignore[override]
        await asyncio.sleep(60)
        raise AssertionError


class LostVisit(Visit):
    async def act(self, action: str) -> Step:  # type: ignore[override]
        raise ConnectionResetError("the door\nis gone")


def keypad(visit: type[Visit]) -> Family:
    class Far(Keypad):
        def begin(self, world: Lock, task: Door, rendering: Rendering) -> Visit:
            return visit(world, task, rendering)

    return Far()


def play(family: Family, rollouts: int) -> list[Trajectory]:
    packs = [family.pack("test", 0, 3, "easy")]
    return asyncio.run(play_all(reference_player("random", "compact", 0), packs, rollouts))


def test_they_wait_together_and_play_as_if_they_did_not() -> None:
    start = time.monotonic()
    waited = play(keypad(SlowVisit), 40)
    elapsed_s = time.monotonic() - start
    turns = sum(episode.turns for trajectory in waited for episode in trajectory.of("solve"))
    assert elapsed_s < turns * PAUSE_S / 4
    assert [t.of("solve")[2].replies for t in waited] == [t.of("solve")[2].replies for t in play(Keypad(), 40)]


@pytest.mark.parametrize(
    ("visit", "why"),
    [
        (DeadVisit, "the world gave no answer within 0.05 s"),
        (LostVisit, "the world gave no answer: the door is gone"),
    ],
)
def test_a_world_that_does_not_answer_gives_no_score(visit: type[Visit], why: str) -> None:
    [trajectory] = play(keypad(visit), 1)
    assert [(e.failed, e.format_error, e.outcome) for e in trajectory.of("solve")] == [(why, False, "lost")] * 3
    assert [e.failed for e in trajectory.of("update")] == [""] * 2


def test_they_can_be_checked_and_played_where_no_event_loop_runs() -> None:
    family = keypad(SlowVisit)
    assert family.answered(family.pack("test", 0, 1, "easy").slots[0].begin("full"), "**1 2 3**") == "**1 2 3**"
    step = act_now(family.pack("test", 0, 1, "easy").slots[0].begin("full"), "1 1 1")
    assert not step.done
    assert " is " in step.observation


class Bare(Keypad):
    """Has nobody to compare with."""

    policies = ("random",)


def test_a_family_without_references_is_checked_as_far_as_that_goes() -> None:
    found = validate_family(Bare(), "easy", packs=10, length=3)
    assert [check for check in found if check.ok is False] == []
    skipped = {check.name: check.reason for check in found if check.ok is None and "policy" in check.reason}
    assert skipped == {
        "solvable": "the family has no policy `informed`",
        "oracle reaches its ceiling": "the family has no policy `informed`",
        "cold success below that": "the family has no policy `informed` and no `bayes`",
        "learnable": "the family has no policy `bayes`",
        "needs memory": "the family has no policy `bayes` and no `forget`",
    }
    assert len(play_policy("random", [Bare().pack("test", 0, 2, "easy")], "compact", 0)) == 1
