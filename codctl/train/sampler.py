"""The engine of a training: which of the learner's weights it samples with, and when it gets others."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from codctl.cod.conversation import Chat
from codctl.cod.engine import Generation, RequestTag, Sampling, Weights
from codctl.cod.mixture import Mixture
from codctl.cod.prompts import solve_messages
from codctl.config.schema import Config, EngineConfig
from codctl.engines import weights_folder
from codctl.engines.replicas import parts_of
from codctl.envs.base import Pack
from codctl.errors import StageError
from codctl.learner.batching import Sample
from codctl.seeds import derive_seed
from codctl.train.training_engine import TrainingEngine

if TYPE_CHECKING:
    from codctl.learner.group import LearnerGroup

_PROBES, _PROBE_TOKENS = 4, 16
# Largest mean difference of log-probs that rounding explains, on any machine: it follows from the type. A log-prob is a
# difference of logits; one of size 32 has a rounding step of 0.125 in bfloat16 and of 4e-6 in float32, and what kernels
# add to it in another order stays within one step in the mean for the first, within some hundred for the second, whose
# matrix products GPUs may do with ten bits. Other weights, another temperature or raw log-probs are off by more.
_TOLERANCE = {"float32": 1e-3, "bfloat16": 0.15}


def version_for(step: int, engine: EngineConfig) -> int:
    """Rollout steps that the weights have with which step `step` (from 1) is played: a function of the recipe alone."""
    learned = max(0, step - 1 - engine.overlap - engine.lead * engine.sync_every)
    return learned // engine.sync_every * engine.sync_every


class Sampler:
    """Keeps an engine at the version that a step is to be played with.

    Args:
        config: Recipe.
        opened: Samples.
        group: The learner.
        run: Folder of the run, after which the folder of published weights is named.
        chat: Of the model.
    """

    def __init__(
        self,
        config: Config,
        opened: TrainingEngine,
        group: LearnerGroup,
        *,
        run: Path,
        chat: Chat,
    ) -> None:
        self.engine, self.apart, self._shares_gpus = opened.engine, opened.apart, opened.shares_gpus
        self._config, self._group, self._chat = config, group, chat
        self._run, self._root = run.resolve(), weights_folder.place_of(config.engine, run)
        if self.apart:
            weights_folder.remove_abandoned()
        self._version = 0
        self._is_asleep = False

    def folder(self, version: int) -> Path:
        """Where the weights of a version are published."""
        return self._root / f"v{version:06d}"

    async def use(self, version: int, *, learned: int, keep: int) -> None:
        """Let the engine sample with the weights of a version. Nothing may be in flight.

        Args:
            version: Wanted; where it is gone, the learner's is taken.
            learned: Rollout steps that the learner's weights have.
            keep: A version that will be wanted again.

        Raises:
            StageError: The engine does not have the new weights.
        """
        if not self.apart:
            self._version = version
            await self.engine.update_weights(Weights(version))
            return
        if version == self._version:
            return
        if not self.folder(version).is_dir():
            version = learned  # after a fork the older ones are gone
            self._publish(version)
        await self.wake()
        await self.engine.update_weights(Weights(version, self.folder(version)))
        self._version = version
        if version == learned:
            await self._check()
        self._forget_all_but({version, keep})

    async def restore(self, version: int, published: Sequence[Path], *, learned: int) -> None:
        """After a resume: give the engine the weights that it had, those of a checkpoint when the learner is ahead."""
        if self.apart:
            self._forget_all_but(set())
            if published:
                self._make_root()
                for folder in published:
                    shutil.copytree(folder, self._root / folder.name)
            elif version == learned and self._config.engine.lags:
                self._publish(version)
        await self.use(version, learned=learned, keep=version)

    async def wake(self) -> None:
        """Give the engine the memory of the GPUs that it shares with the learner."""
        if self._shares_gpus and self._is_asleep:
            await self.engine.wake()
            self._is_asleep = False

    async def rest(self) -> None:
        """Give that memory to the learner."""
        if self._shares_gpus and not self._is_asleep:
            await self.engine.sleep()
            self._is_asleep = True

    async def aclose(self) -> None:
        """End the engine, and remove the published weights."""
        try:
            await self.engine.aclose()
        finally:
            shutil.rmtree(self._root, ignore_errors=True)

    def _publish(self, version: int) -> None:
        self._make_root()
        self._group.publish(self.folder(version))

    def _make_root(self) -> None:
        weights_folder.make(self._root, self._run)

    def _forget_all_but(self, versions: set[int]) -> None:
        kept = {self._root / weights_folder.OWNER, *(self.folder(version) for version in versions)}
        for path in self._root.iterdir() if self._root.is_dir() else ():
            if path not in kept:
                shutil.rmtree(path, ignore_errors=True)

    async def _check(self) -> None:
        """Compare the engine's log-probs of its own replies with the learner's."""
        probes = max(_PROBES, len(parts_of(self.engine)))  # each engine gets one: they are shared out evenly
        packs = Mixture.of(self._config.world).packs("validation", 0, 0, probes)
        asked = [self._prompt(pack) for pack in packs]
        async with asyncio.timeout(self._config.sampling.deadline_s):
            replies = await asyncio.gather(*(self._ask(ids, tag) for ids, tag in asked))
        rows = [_row(ids, reply) for (ids, _), reply in zip(asked, replies, strict=True)]
        gaps = [
            abs(said - scored)
            for reply, scores in zip(replies, self._group.score(rows), strict=True)
            for said, scored in zip(reply.logprobs, scores.tolist(), strict=True)
        ]
        gap = sum(gaps) / len(gaps)
        limit = _TOLERANCE[self._config.model.dtype]
        if not gap <= limit:
            raise StageError(
                f"weight sync failed at step {self._version}: the log-probs of engine and learner differ by {gap:.3g} "
                f"on average (limit {limit:.3g})",
                hint="an external server needs the same model and dtype, and --logprobs-mode processed_logprobs",
            )

    def _prompt(self, pack: Pack) -> tuple[list[int], RequestTag]:
        rendering = self._config.world.rendering
        slot = pack.slots[0]
        episode = slot.begin(rendering)
        ids = self._chat.open(solve_messages(slot, "", episode.observation, rendering))
        return ids, RequestTag(pack.id, 0, 0, 0, "solve")

    async def _ask(self, ids: Sequence[int], tag: RequestTag) -> Generation:
        sampling = Sampling(_PROBE_TOKENS, self._config.sampling.temperature, self._chat.stop_ids)
        seed = derive_seed("probe", self._version, tag.pack)
        return await self.engine.generate(ids, sampling, seed=seed, tag=tag)


def _row(ids: Sequence[int], reply: Generation) -> Sample:
    prompt, sampled = len(ids), len(reply.token_ids)
    return Sample(
        ids=np.array([*ids, *reply.token_ids], np.int32),
        loss_mask=np.repeat([False, True], [prompt, sampled]),
        logprobs=np.array([0.0] * prompt + reply.logprobs, np.float32),
        advantage=0.0,
    )
