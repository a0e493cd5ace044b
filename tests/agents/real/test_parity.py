"""A pack that is played inside a real agent program is the pack that codctl's own player plays, to the token.

There is no threshold. Every reply of the model depends on every token of its prompt, so hints that did not get in, an
observation that was changed, a call that was repeated, or a state that leaked would change what follows.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from codctl.agents.performer import AgentPerformer
from codctl.agents.program import AgentProgram
from codctl.agents.proxy.server import ModelProxy
from codctl.agents.setup import AgentSetup
from codctl.cod.rollout import Player
from codctl.cod.trajectory import Trajectory
from codctl.envs.base import Pack
from codctl.evaluate.by_agent import AnswerModels
from tests.agents.playing import by_itself, pack_of, player_of, without_performance

pytestmark = pytest.mark.agents

_AT_ONCE = 2
PACKS = {"claude-code": 12, "hermes": 12, "openclaw": 3, "qwenpaw": 3}


def packs_for(program: AgentProgram) -> list[Pack]:
    """Frozen lakes, and one pack of alchemy, whose texts are long."""
    count = int(os.environ.get("CODCTL_TEST_PACKS", PACKS.get(program.name, 3)))
    return [pack_of(index=index) for index in range(count - 1)] + [pack_of("alchemy", index=count)]


async def _inside(player: Player, packs: Sequence[Pack], program: AgentProgram, folder: Path) -> list[Trajectory]:
    turns = asyncio.Semaphore(_AT_ONCE)
    async with ModelProxy.open() as proxy:
        setup = AgentSetup(program.name, program.title, program.tried, "answer")
        performer = AgentPerformer(program, setup, proxy, folder, AnswerModels())
        player = replace(player, performer=performer)

        async def played(pack: Pack) -> Trajectory:
            async with turns:
                return await player.play(pack, 0)

        return list(await asyncio.gather(*map(played, packs)))


@pytest.mark.parametrize("arm", ["own", "none"])
def test_it_is_the_same_to_the_token(program: AgentProgram, arm: str, tmp_path: Path) -> None:
    player, packs = player_of(arm=arm), packs_for(program)
    found = asyncio.run(_inside(player, packs, program, tmp_path))
    assert [without_performance(one) for one in found] == by_itself(player, packs)
    told = [episode.performance for one in found for episode in one.of("solve")]
    assert {one.context for one in told if one} <= ({"whole", "none"} if arm == "own" else {"none"})


@pytest.mark.parametrize("family", ["learn2ask", "terminal"])
def test_so_it_is_with_texts_of_many_lines(program: AgentProgram, family: str, tmp_path: Path) -> None:
    player, packs = player_of("full"), [pack_of(family, 2)]
    found = asyncio.run(_inside(player, packs, program, tmp_path))
    assert [without_performance(one) for one in found] == by_itself(player, packs)
