"""A pack that is asked for from outside goes as it does in codctl's own loop."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from codctl.cod.scripted import Fault
from codctl.cod.trajectory import Trajectory
from codctl.errors import UsageError
from codctl.neighbours.in_play import PackInPlay, Series, first_messages, scores

from .conftest import SERIES, Played


async def through(played: Played, series: Series, number: int) -> Trajectory:
    play = PackInPlay(series, number)
    first = True
    while asked := await play.ask():
        if first:
            assert list(asked.messages) == first_messages(series, number)
        first = False
        play.answer(played.reply(asked.messages))
    assert play.trajectory is not None
    return play.trajectory


def same(one: Trajectory) -> list[tuple[object, ...]]:
    return [(e.kind, e.position, e.raw_reward, e.turns, e.outcome, e.hints, e.replies) for e in one.episodes]


def test_rewards_turns_hints_and_requests_are_the_player_s(series: Series) -> None:
    played = Played(series, 2)
    for number, own in enumerate(played.trajectories):
        found = asyncio.run(through(played, series, number))
        assert same(found) == same(own)
        assert found.revisions == own.revisions
    assert played.left == 0


@pytest.mark.parametrize("fault", ["no_answer", "two_answers", "bad_action", "no_hints"])
def test_replies_that_cannot_be_read_end_as_they_do_there(fault: Fault) -> None:
    series = SERIES["lake"]
    played = Played(series, 3, fault=fault)
    found = [asyncio.run(through(played, series, number)) for number in range(3)]
    assert list(map(same, found)) == list(map(same, played.trajectories))


def test_a_reply_that_was_cut_is_said_to_be() -> None:
    async def play() -> Trajectory:
        one = PackInPlay(replace(SERIES["lake"], length=1), 0)
        await one.ask()
        one.answer("I think that", was_cut=True)
        assert await one.ask() is None
        assert one.trajectory is not None
        return one.trajectory

    assert asyncio.run(play()).episodes[0].outcome == "cut"


def test_a_pack_can_be_left_in_the_middle() -> None:
    async def play() -> PackInPlay:
        one = PackInPlay(SERIES["lake"], 0)
        await one.ask()
        await one.close()
        return one

    assert asyncio.run(play()).trajectory is None


def test_scores_are_the_mean_and_each_task() -> None:
    own = Played(SERIES["lake"], 1).trajectories[0]
    found = scores(own)
    rewards = [e.raw_reward for e in own.of("solve")]
    assert found["reward"] == sum(rewards) / 3
    assert [found[f"reward_{n}"] for n in range(3)] == rewards


def test_there_is_no_such_world() -> None:
    with pytest.raises(UsageError, match="preset"):
        Series("frozen_lake", "huge").pack(0)
