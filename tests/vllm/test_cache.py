"""Turns, updates and the rollouts of a pack find their beginnings in the prefix cache."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codctl.cod.agent import Agent
from codctl.cod.conversation import TemplateChat
from codctl.cod.engine import Generation, RequestTag, Sampling, Weights
from codctl.cod.scripted import EachFamily, ScriptedAgent
from codctl.engines.replicas import Replicas
from codctl.envs.base import PolicyView
from codctl.models.load import load_tokenizer

from .conftest import play, player

pytestmark = pytest.mark.vllm


class Prompted(Agent):
    """Asks vLLM with every prompt of a rollout, and goes on with what a good player says."""

    def __init__(self, engine: Replicas, folder: Path) -> None:
        self._engine = engine
        self._script = ScriptedAgent(EachFamily("bayes"), TemplateChat(load_tokenizer(folder)))

    def open_session(self) -> None:
        self._engine.open_session()

    def close_session(self) -> None:
        self._engine.close_session()

    async def reply(
        self, view: PolicyView, prompt_ids: Sequence[int], sampling: Sampling, *, seed: int, tag: RequestTag
    ) -> Generation:
        said = await self._script.reply(view, prompt_ids, sampling, seed=seed, tag=tag)
        await self._engine.generate(prompt_ids, Sampling(1), seed=seed, tag=tag)
        return said


def test_most_prompt_tokens_of_a_rollout_are_cached(
    http_engine: Replicas, models: dict[str, Path], loop: asyncio.Runner
) -> None:
    loop.run(http_engine.update_weights(Weights(0, models["tied"])))
    before = replace(http_engine.stats)
    engine: Any = Prompted(http_engine, models["tied"])
    loop.run(play(player(engine, models["tied"]), packs=4, rollouts=8))
    stats = http_engine.stats.since(before)
    assert stats.prompt_tokens > 10_000
    assert stats.cached_tokens / stats.prompt_tokens > 0.6
