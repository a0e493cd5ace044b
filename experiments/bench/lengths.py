"""A model whose replies are as uneven as an LLM's: how long each one is, is drawn; what it plays follows from that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

from codctl.cod.context import END, START
from codctl.cod.conversation import Chat
from codctl.cod.engine import Engine, Generation, RequestTag, Sampling, Weights
from codctl.envs.frozen_lake.names import CODES

MOST = 4.0  # times the median: a token limit cuts the rest


class DrawnLengths:
    """Passes requests on with a number of tokens drawn by the request's seed, and no other end.

    Args:
        inner: Engine that samples.
        solve: Median number of tokens of a turn.
        update: Of an update.
        spread: Standard deviation of the logarithm of the lengths; 0 makes all of a kind equal.
    """

    def __init__(self, inner: Engine, *, solve: int, update: int, spread: float) -> None:
        self._inner, self._median, self._spread = inner, {"solve": solve, "update": update}, spread

    def open_session(self) -> None:
        self._inner.open_session()

    def close_session(self) -> None:
        self._inner.close_session()

    async def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, seed: int, tag: RequestTag
    ) -> Generation:
        factor = min(MOST, math.exp(Random(seed).gauss(0, self._spread)))
        drawn = replace(sampling, max_new_tokens=max(1, round(self._median[tag.kind] * factor)), stop_ids=())
        return await self._inner.generate(prompt_ids, drawn, seed=seed, tag=tag)

    async def update_weights(self, weights: Weights) -> None:
        await self._inner.update_weights(weights)

    async def aclose(self) -> None:
        await self._inner.aclose()


class ReadableChat:
    """A chat in which every reply reads as a move or as hints, chosen by its number of tokens.

    So every engine plays the same course, whatever it samples.
    """

    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chat, name)

    def decode(self, ids: Sequence[int]) -> str:
        code = sorted(CODES)[len(ids) % len(CODES)]
        return f"{START} up={code} {END} <answer>{code}</answer>"
