"""A pack that is played inside an agent program is the pack that codctl's own player plays."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from codctl.agents.performer import AgentPerformer
from codctl.agents.proxy.server import ModelProxy
from codctl.agents.setup import AgentSetup
from codctl.cod.arms import arm_class
from codctl.cod.references import reference_player
from codctl.cod.rollout import Player
from codctl.cod.trajectory import EpisodeRecord, Trajectory
from codctl.envs.base import Pack, Rendering
from codctl.envs.registry import get_family
from codctl.evaluate.by_agent import AnswerModels
from tests.agents import fakes
from tests.agents.fakes import Fake
from tests.agents.prompt_bound import PromptBound


def player_of(rendering: Rendering = "compact", arm: str = "own") -> Player:
    found = reference_player("random", rendering, 0)
    return replace(found, engine=PromptBound(found.chat), hints=arm_class(arm)(rendering))


def pack_of(family: str = "frozen_lake", length: int = 3, index: int = 0, preset: str | None = None) -> Pack:
    found = get_family(family)
    return found.pack("test", index, length, preset or found.presets[0])


def setup(program: Fake, **options: object) -> AgentSetup:
    return AgentSetup(program.name, program.title, program.version(), "answer", **options)


async def _inside(
    player: Player, packs: Sequence[Pack], program: Fake, folder: Path, options: dict[str, object]
) -> list[Trajectory]:
    async with ModelProxy.open() as proxy:
        performer = AgentPerformer(program, setup(program, **options), proxy, folder, AnswerModels(), name="own")
        player = replace(player, performer=performer)
        return list(await asyncio.gather(*(player.play(pack, 0) for pack in packs)))


def inside(player: Player, packs: Sequence[Pack], program: Fake, folder: Path, **options: object) -> list[Trajectory]:
    return asyncio.run(_inside(player, packs, program, folder, options))


def by_itself(player: Player, packs: Sequence[Pack]) -> list[Trajectory]:
    return [asyncio.run(player.play(pack, 0)) for pack in packs]


def without_performance(trajectory: Trajectory) -> Trajectory:
    episodes = tuple(replace(episode, performance=None) for episode in trajectory.episodes)
    return replace(trajectory, episodes=episodes)


def solves(trajectory: Trajectory) -> list[EpisodeRecord]:
    return trajectory.of("solve")


@pytest.mark.parametrize(
    "program", [fakes.LikeHermes(), fakes.LikeClaude(), fakes.LikeOpenClaw()], ids=lambda one: one.title
)
def test_it_is_the_same_to_the_token(program: Fake, tmp_path: Path) -> None:
    packs = [pack_of(index=0), pack_of("alchemy", index=1)]
    player = player_of()
    found = inside(player, packs, program, tmp_path)
    assert [without_performance(one) for one in found] == by_itself(player, packs)
    played = [episode.performance for one in found for episode in solves(one)]
    assert {one.ended for one in played if one} == {"ended"}
    assert [one.context for one in played if one] == ["none", "whole", "whole"] * 2


@pytest.mark.parametrize("arm", ["none", "oracle", "history"])
def test_so_it_is_in_other_arms(arm: str, tmp_path: Path) -> None:
    player, packs = player_of(arm=arm), [pack_of()]
    found = inside(player, packs, fakes.LikeHermes(), tmp_path)
    assert [without_performance(one) for one in found] == by_itself(player, packs)


@pytest.mark.parametrize("family", ["frozen_lake", "learn2ask", "terminal"])
def test_so_it_is_with_full_texts(family: str, tmp_path: Path) -> None:
    """Texts of many lines, a conversation that has begun, a world that waits."""
    player, packs = player_of("full"), [pack_of(family, 2)]
    found = inside(player, packs, fakes.LikeHermes(), tmp_path)
    assert [without_performance(one) for one in found] == by_itself(player, packs)
