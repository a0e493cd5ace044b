"""Packs as codctl's own player plays them, and as an agent program does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from codctl.agents.performer import AgentPerformer
from codctl.agents.program import AgentProgram
from codctl.agents.proxy.server import ModelProxy
from codctl.agents.setup import AgentSetup
from codctl.cod.arms import arm_class
from codctl.cod.references import reference_player
from codctl.cod.rollout import Player
from codctl.cod.trajectory import EpisodeRecord, Trajectory
from codctl.envs.base import Pack, Rendering
from codctl.envs.registry import get_family
from codctl.evaluate.by_agent import AnswerModels
from tests.agents.prompt_bound import PromptBound


def player_of(rendering: Rendering = "compact", arm: str = "own") -> Player:
    found = reference_player("random", rendering, 0)
    return replace(found, engine=PromptBound(found.chat), hints=arm_class(arm)(rendering))


def pack_of(family: str = "frozen_lake", length: int = 3, index: int = 0, preset: str | None = None) -> Pack:
    found = get_family(family)
    return found.pack("test", index, length, preset or found.presets[0])


def setup(program: AgentProgram, **options: Any) -> AgentSetup:
    return AgentSetup(program.name, program.title, program.version(), "answer", **options)


async def _inside(
    player: Player, packs: Sequence[Pack], program: AgentProgram, folder: Path, options: dict[str, Any]
) -> list[Trajectory]:
    models = options.pop("models", None) or AnswerModels()
    async with ModelProxy.open() as proxy:
        performer = AgentPerformer(program, setup(program, **options), proxy, folder, models, name="own")
        player = replace(player, performer=performer)
        return list(await asyncio.gather(*(player.play(pack, 0) for pack in packs)))


def inside(
    player: Player, packs: Sequence[Pack], program: AgentProgram, folder: Path, **options: Any
) -> list[Trajectory]:
    return asyncio.run(_inside(player, packs, program, folder, options))


def by_itself(player: Player, packs: Sequence[Pack]) -> list[Trajectory]:
    return [asyncio.run(player.play(pack, 0)) for pack in packs]


def without_performance(trajectory: Trajectory) -> Trajectory:
    episodes = tuple(replace(episode, performance=None) for episode in trajectory.episodes)
    return replace(trajectory, episodes=episodes)


def solves(trajectory: Trajectory) -> list[EpisodeRecord]:
    return trajectory.of("solve")
