"""What codctl's own player does with a scripted policy, and a model that replies as that policy did."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pytest

from codctl.cod.arms import NoHints, OwnHints
from codctl.cod.engine import Generation
from codctl.cod.rollout import Player
from codctl.cod.scripted import EachFamily, Fault, ScriptedAgent
from codctl.cod.trajectory import Trajectory
from codctl.neighbours.in_play import MessageChat, Series

Prompt = Sequence[Any]


class Played:
    """Packs played by a scripted policy in codctl's own loop.

    Attributes:
        trajectories: By number.
    """

    def __init__(self, series: Series, packs: int, policy: str = "bayes", fault: Fault | None = None) -> None:
        self.trajectories: list[Trajectory] = []
        self._replies: defaultdict[str, list[str]] = defaultdict(list)
        for number in range(packs):
            chat = MessageChat()
            agent = _Noting(EachFamily(policy), chat, fault=fault, fault_rate=0.3 if fault else 0.0)
            hints = OwnHints() if series.own_hints else NoHints()
            player = Player(agent, chat, series.settings, 0, hints)
            self.trajectories.append(asyncio.run(player.play(series.pack(number), 0)))
            for prompt, reply in agent.noted:
                self._replies[_key(prompt)].append(reply)

    def reply(self, prompt: Prompt) -> str:
        """What the policy replied to just this conversation; an error where it was never asked that."""
        return self._replies[_key(prompt)].pop(0)

    @property
    def left(self) -> int:
        """Replies that were not asked for."""
        return sum(map(len, self._replies.values()))


class _Noting(ScriptedAgent):
    def __init__(self, policy: Any, chat: MessageChat, **fault: Any) -> None:
        super().__init__(policy, chat, **fault)
        self.noted: list[tuple[Prompt, str]] = []

    async def reply(self, view: Any, prompt_ids: Sequence[int], *args: Any, **named: Any) -> Generation:
        made = await super().reply(view, prompt_ids, *args, **named)
        chat: Any = self._chat
        self.noted.append((chat.messages(prompt_ids), chat.decode(made.token_ids)))
        return made


def _key(prompt: Prompt) -> str:
    plain = [dict(one) if isinstance(one, dict) else {"role": one.role, "content": one.content} for one in prompt]
    return json.dumps([[one["role"], one["content"]] for one in plain])


SERIES = {
    "lake": Series("frozen_lake", "easy", split="test", length=3),
    "no-hints": Series("frozen_lake", "easy", split="test", length=3, own_hints=False),
    "terse": Series("frozen_lake", "tiny", rendering="terse", split="test", length=3),
    "graded": Series("optimal_control", split="test", length=2),
    "alchemy": Series("alchemy", split="test", length=2),
}


@pytest.fixture(params=SERIES)
def series(request: pytest.FixtureRequest) -> Series:
    return SERIES[request.param]
