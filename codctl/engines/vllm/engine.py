"""vLLM behind the rollout: continuous batching over all live trajectories on one replica of the model.

Every request is salted with the weights that it asks for, so that nothing that was computed with others is ever used.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from codctl.cod.engine import (
    ALL,
    EngineError,
    Generation,
    PromptTooLongError,
    RequestTag,
    Sampling,
    Scores,
    Sender,
    Weights,
)
from codctl.cod.trajectory import TokenRecord
from codctl.engines.provider import OpenEngine
from codctl.engines.vllm.backend import Ask, Backend, Loaded, Rating
from codctl.engines.vllm.replica import Replica
from codctl.engines.vllm.settings import EngineSettings, is_adapter


class VllmEngine(OpenEngine):
    """See the module. `start` comes first, and all is used in one event loop, until `aclose`."""

    def __init__(self, backend: Backend, settings: EngineSettings) -> None:
        super().__init__()
        self._backend, self._settings = backend, settings
        self._word = secrets.token_hex(4)  # servers by URL may know other runs
        self._wanted = self._named(0, 0, settings.adapter)
        self._replica: Replica | None = None
        self._open = 0

    @property
    def is_ready(self) -> bool:
        return self._replica is not None and self._replica.is_ready

    async def start(self) -> None:
        """Start or find the replica.

        Raises:
            BackendError: It cannot be used.
        """
        self._replica = Replica(self._backend, self._settings, lambda: self._wanted, self._count_restart)
        await self._replica.start()

    async def until_ready(self) -> None:
        await self._started.until_ready()

    async def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, seed: int, tag: RequestTag
    ) -> Generation:
        replica = self._started
        await replica.until_ready()
        room = replica.max_tokens - len(prompt_ids)
        if room < 1:
            raise PromptTooLongError(f"the prompt has {len(prompt_ids)} tokens, the engine reads {replica.max_tokens}")
        wanted = self._wanted
        self._open += 1
        try:
            budget = min(sampling.max_new_tokens, room)
            reply = await replica.ask(Ask(list(prompt_ids), sampling, budget, seed % 2**63, wanted), tag.begin)
        finally:
            self._open -= 1
        self.stats.prompt_tokens += len(prompt_ids)
        self.stats.cached_tokens += reply.cached_tokens
        self.stats.new_tokens += len(reply.token_ids)
        return Generation(reply.token_ids, reply.logprobs, reply.finish_reason, wanted.version)

    async def score(self, rows: Sequence[TokenRecord], top: int = 0) -> list[Scores]:
        """See `OpenEngine.score`; a row is one request, of which vLLM is asked for the log-probs of its prompt.

        Raises:
            PromptTooLongError: A row fills the window: vLLM always samples one token after it.
            EngineError: The whole vocabulary is wanted, which does not fit into replies.
        """
        if top == ALL:
            raise EngineError("vLLM gives log-probs of the likeliest tokens only, not of the whole vocabulary")
        replica = self._started
        await replica.until_ready()
        longest = max((len(row.ids) for row in rows), default=0)
        if longest >= replica.max_tokens:
            raise PromptTooLongError(f"a row has {longest} tokens, the engine scores {replica.max_tokens - 1}")
        self._open += 1
        try:
            asked = [
                Rating(row.ids.tolist(), np.flatnonzero(row.loss_mask).tolist(), top, self._wanted) for row in rows
            ]
            return list(await asyncio.gather(*(replica.score(one) for one in asked)))
        finally:
            self._open -= 1

    async def update_weights(self, weights: Weights) -> None:
        """See `Engine`. Without a folder the weights stay: there are none yet but those of the start.

        A replica that is away takes them when it is back.

        Raises:
            EngineError: Replies are being sampled.
        """
        if self._open:
            raise EngineError("weights cannot change while replies are being sampled")
        now = self._wanted
        if weights.folder is None or (weights.version, weights.folder) == (now.version, now.folder):
            self._wanted = Loaded(now.serial, weights.version, now.folder, now.is_adapter, now.name)
        else:
            self._wanted = self._named(now.serial + 1, weights.version, weights.folder, weights.sender)
        try:
            await self._started.load()
        finally:
            self._wanted = replace(self._wanted, sender=None)  # the learner goes on: a restart reads the folder

    async def sleep(self) -> None:
        """Give the GPUs' memory to the learner: weights go to the host, caches go. Nothing on a CPU or by URL."""
        if self._settings.sleeps:
            await self._started.sleep()

    async def wake(self) -> None:
        """Take the memory back."""
        if self._settings.sleeps:
            await self._started.wake()

    async def aclose(self) -> None:
        """End what was started; what does not end in time is killed."""
        if self._replica is not None:
            await self._replica.aclose()

    @property
    def _started(self) -> Replica:
        assert self._replica is not None, "start comes first"
        return self._replica

    def _count_restart(self) -> None:
        self.stats.restarts += 1

    def _named(self, serial: int, version: int, folder: Path | None, sender: Sender | None = None) -> Loaded:
        is_lora = folder is not None and is_adapter(folder)
        return Loaded(serial, version, folder, is_lora, f"codctl-{self._word}-{serial}", sender)
