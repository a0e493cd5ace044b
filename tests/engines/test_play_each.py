"""Packs that are played in several processes: the same trajectories and counts, and errors that reach the caller."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from codctl.cod.references import reference_player
from codctl.cod.rollout import Player
from codctl.cod.settings import RolloutSettings
from codctl.engines.play_each import Done, play_all, play_each
from codctl.engines.transformers_engine import TransformersEngine
from codctl.envs.base import Pack
from codctl.envs.registry import get_family
from codctl.models.load import load_chat, load_tokenizer
from tests.cod.test_waiting_worlds import SlowVisit, keypad

SETTINGS = RolloutSettings("compact", solve_tokens=10, update_tokens=24)


def packs(count: int) -> list[Pack]:
    family = get_family("frozen_lake")
    return [family.pack("test", number, 3, "tiny") for number in range(count)]


def player(model: Any, folder: Path) -> Player:
    engine = TransformersEngine(model, pad_id=0, max_tokens=512, max_batch=16)
    return Player(engine, load_chat(folder, load_tokenizer(folder)), SETTINGS, 0)


def where(player: Player, packs: Sequence[Pack], processes: int, **options: Any) -> list[Done[Pack, int]]:
    """In which process each pack is played."""
    found: list[Done[Pack, int]] = []

    async def play(pack: Pack) -> int:
        await player.play(pack, 0)
        return os.getpid()

    asyncio.run(play_each(packs, play, found.append, player=player, packs=packs, processes=processes, **options))
    return found


@pytest.mark.parametrize("processes", [2, 3, 7])
def test_trajectories_and_counts_are_those_of_one_process(tiny_folder: Path, model: Any, processes: int) -> None:
    alone, several = player(model, tiny_folder), player(model, tiny_folder)
    expected = asyncio.run(play_all(alone, packs(5)))
    found = asyncio.run(play_all(several, packs(5), processes=processes, at_once=4))
    assert [t.pack for t in found] == [pack.id for pack in packs(5)]
    for one, other in zip(found, expected, strict=True):
        for episode, same in zip(one.episodes, other.episodes, strict=True):
            assert (episode.ids == same.ids).all()
            torch.testing.assert_close(torch.from_numpy(episode.logprobs), torch.from_numpy(same.logprobs))
    assert several.engine.stats.new_tokens == alone.engine.stats.new_tokens  # type: ignore[union-attr]
    assert several.engine.stats.prompt_tokens == alone.engine.stats.prompt_tokens  # type: ignore[union-attr]
    for name in ("trajectories", "replies", "tokens"):
        assert getattr(several.requests, name) == getattr(alone.requests, name)


def test_the_same_number_of_processes_gives_the_same_bits(tiny_folder: Path, model: Any) -> None:
    one, other = (asyncio.run(play_all(player(model, tiny_folder), packs(6), processes=2)) for _ in range(2))
    assert one == other


def test_each_process_plays_its_share_of_the_jobs_and_of_the_seats() -> None:
    begun: list[str] = []
    most, live = 0, 0

    def begin(pack: Pack) -> None:
        nonlocal live, most
        begun.append(pack.id)
        live += 1
        most = max(most, live)

    found: list[Done[Pack, int]] = []

    def done(one: Done[Pack, int]) -> None:
        nonlocal live
        live -= 1
        found.append(one)

    scripted, asked = reference_player("bayes", "compact", 0), packs(9)

    async def play(pack: Pack) -> int:
        await scripted.play(pack, 0)
        return os.getpid()

    asyncio.run(play_each(asked, play, done, player=scripted, packs=asked, processes=3, at_once=6, begin=begin))
    assert sorted(begun) == sorted(pack.id for pack in asked)
    assert most <= 6
    assert live == 0
    by_process = {one.result: [other.job.id for other in found if other.result == one.result] for one in found}
    assert sorted(map(sorted, by_process.values())) == sorted(
        sorted(pack.id for pack in asked[first : first + 3]) for first in (0, 3, 6)
    )
    assert [one.in_fork for one in found] == [one.result != os.getpid() for one in found]


def test_worlds_that_wait_and_agent_programs_stay_in_this_process() -> None:
    far = [keypad(SlowVisit).pack("test", number, 2, "easy") for number in range(4)]
    assert {one.result for one in where(reference_player("random", "compact", 0), far, 2)} == {os.getpid()}
    scripted = reference_player("bayes", "compact", 0)
    assert len({one.result for one in where(scripted, packs(4), 2)}) == 2

    async def play(pack: Pack) -> int:
        return os.getpid()

    found: list[Done[Pack, int]] = []
    program: Any = object()
    asked = packs(4)
    asyncio.run(
        play_each(asked, play, found.append, player=replace(scripted, performer=program), packs=asked, processes=2)
    )
    assert {one.result for one in found} == {os.getpid()}


def test_nothing_to_play() -> None:
    assert asyncio.run(play_all(reference_player("bayes", "compact", 0), [], processes=2)) == []


def test_an_error_in_a_fork_ends_all() -> None:
    scripted, asked, here = reference_player("bayes", "compact", 0), packs(4), os.getpid()

    async def play(pack: Pack) -> int:
        if os.getpid() != here:
            raise ValueError("this world is broken")
        await asyncio.sleep(60)
        return 0

    with pytest.raises(RuntimeError, match="this world is broken"):
        asyncio.run(play_each(asked, play, lambda one: None, player=scripted, packs=asked, processes=2))


def test_an_error_here_ends_the_forks() -> None:
    scripted, asked, here = reference_player("bayes", "compact", 0), packs(4), os.getpid()

    async def play(pack: Pack) -> int:
        if os.getpid() == here:
            raise ValueError("this world is broken")
        await asyncio.sleep(60)
        return 0

    with pytest.raises(ValueError, match="this world is broken"):
        asyncio.run(play_each(asked, play, lambda one: None, player=scripted, packs=asked, processes=2))
