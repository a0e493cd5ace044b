"""What a progress is told of an engine while replies are made."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from codctl.cod.conversation import ByteChat
from codctl.cod.rollout import Player
from codctl.cod.scripted import EachFamily, ScriptedAgent
from codctl.cod.settings import RolloutSettings
from codctl.engines import reply_progress
from codctl.engines.reply_progress import Pulse


class Told:
    def __init__(self, stops_at: int = 0) -> None:
        self.calls: list[tuple[str, int, int, dict[str, float]]] = []
        self._stops_at = stops_at

    def update(self, phase: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
        self.calls.append((phase, done, total, dict(metrics)))
        if len(self.calls) == self._stops_at:
            raise RuntimeError("asked to stop")

    def message(self, text: str) -> None: ...


def player() -> Player:
    chat = ByteChat()
    return Player(ScriptedAgent(EachFamily("bayes"), chat), chat, RolloutSettings("compact"), 0)


def test_a_phase_is_named_at_once_and_its_replies_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reply_progress, "_EVERY_S", 0.01)
    told, one = Told(), player()
    one.requests.replies = 5  # of an earlier phase

    async def play() -> None:
        async with Pulse(told, one, "sampling step 1", 4):
            one.requests.replies, one.requests.tokens, one.requests.trajectories = 8, 60, 2
            await asyncio.sleep(0.1)

    asyncio.run(play())
    assert told.calls[0] == ("sampling step 1", 0, 4, {"replies": 0.0, "tokens": 0.0})
    assert len(told.calls) > 2
    assert told.calls[-1] == ("sampling step 1", 2, 4, {"replies": 3.0, "tokens": 60.0})


def test_what_the_progress_raises_ends_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reply_progress, "_EVERY_S", 0.01)

    async def play(told: Any) -> None:
        async with Pulse(told, player(), "an evaluation"):
            await asyncio.sleep(60)

    with pytest.raises(RuntimeError, match="asked to stop"):
        asyncio.run(play(Told(stops_at=3)))
