"""Turns, updates and the rollouts of a pack find their beginnings in the prefix cache."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codctl.cod.conversation import TemplateChat
from codctl.cod.engine import Asker, Generation, Sampling, Weights
from codctl.cod.scripted import EachFamily, ScriptedEngine
from codctl.engines.vllm.engine import VllmEngine
from codctl.models.models import load_tokenizer

from .conftest import play, player

pytestmark = pytest.mark.vllm


class Prompted:
    """Asks vLLM with every prompt of a rollout, and goes on with what a good player says."""

    def __init__(self, engine: VllmEngine, folder: Path) -> None:
        self._engine = engine
        self._script = ScriptedEngine(EachFamily("bayes"), TemplateChat(load_tokenizer(folder)))

    def take_seat(self) -> None:
        self._engine.take_seat()

    def leave_seat(self) -> None:
        self._engine.leave_seat()

    async def generate(self, prompt_ids: Sequence[int], sampling: Sampling, *, seed: int, asker: Asker) -> Generation:
        said = await self._script.generate(prompt_ids, sampling, seed=seed, asker=asker)
        await self._engine.generate(prompt_ids, Sampling(1), seed=seed, asker=asker)
        return said

    async def update_weights(self, weights: Weights) -> None: ...

    async def aclose(self) -> None: ...


def test_most_prompt_tokens_of_a_rollout_are_cached(
    http_engine: VllmEngine, models: dict[str, Path], loop: asyncio.Runner
) -> None:
    loop.run(http_engine.update_weights(Weights(0, models["tied"])))
    before = replace(http_engine.stats)
    engine: Any = Prompted(http_engine, models["tied"])
    loop.run(play(player(engine, models["tied"]), packs=4, rollouts=8))
    stats = http_engine.stats.since(before)
    assert stats.prompt_tokens > 10_000
    assert stats.cached_tokens / stats.prompt_tokens > 0.6
