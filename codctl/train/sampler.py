"""The engine of a training: which of the learner's weights it samples with, and when it gets others."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from codctl.cod.conversation import Chat
from codctl.cod.engine import Generation, RequestTag, Sampling, Weights
from codctl.cod.mixture import Mixture
from codctl.config.schema import Config
from codctl.engines import weights_folder
from codctl.engines.replicas import parts_of
from codctl.errors import StageError
from codctl.learner.sending import LearnerSender
from codctl.seeds import derive_seed
from codctl.train import probes
from codctl.train.training_engine import TrainingEngine

if TYPE_CHECKING:
    from codctl.learner.group import LearnerGroup

_PROBES = 4


class Sampler:
    """Keeps an engine at the version that is to be sampled with, and the versions that will be.

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
        self._sender = LearnerSender(group)
        self._version = 0
        self._instead: dict[int, int] = {}  # versions that are gone, after a fork or an extension
        self._is_asleep = False

    def folder(self, version: int) -> Path:
        """Where the weights of a version are published."""
        return self._root / f"v{version:06d}"

    def versions_in(self, published: Sequence[Path]) -> set[int]:
        """The versions of folders of weights that a checkpoint has kept."""
        return {_version_of(folder) for folder in published}

    def held(self, versions: Collection[int], *, before: int) -> list[Path]:
        """Where the weights of these versions are, as far as they are older than those of a step."""
        return [self.folder(version) for version in sorted(self._actual(versions)) if version < before]

    async def use(self, version: int, *, learned: int, keep: Collection[int], check: bool = True) -> None:
        """Let the engine sample with the weights of a version. Nothing may be in flight.

        Args:
            version: Wanted.
            learned: Rollout steps that the learner's weights have.
            keep: Versions up to there that will be wanted.
            check: Whether the learner is free to be compared with, where its weights are of this version.

        Raises:
            StageError: The engine does not have the new weights.
        """
        if not self.apart:
            self._version = version
            await self.engine.update_weights(Weights(version))
            return
        version = self._instead.get(version, version)
        if version == self._version:
            return
        if version == learned and not self.folder(version).is_dir():
            self.publish(version)
        await self.wake()
        sender = self._sender if check and version == learned else None
        await self.engine.update_weights(Weights(version, self.folder(version), sender))
        self._version = version
        if check and version == learned:
            await self._check()
        self._forget({path for path in self._published() if _version_of(path) < learned} - self._folders(keep))

    def restore(self, published: Sequence[Path], *, learned: int, ahead: Collection[int]) -> None:
        """After a resume: take older weights from a checkpoint. Where they are gone, newer ones stand in for them.

        Args:
            published: Folders of older weights.
            learned: Rollout steps that the learner's weights have.
            ahead: Versions up to there that will be wanted.
        """
        if not self.apart:
            return
        self._forget(set(self._root.iterdir()) if self._root.is_dir() else set())
        older = {_version_of(folder): folder for folder in published if 0 <= _version_of(folder) < learned}
        if older:
            self._make_root()
            for version, folder in older.items():
                shutil.copytree(folder, self.folder(version))
        held = {*older, learned}
        self._instead = {version: min(one for one in held if one > version) for version in ahead if version not in held}
        if self._config.engine.lags and learned in self._actual(ahead):
            self.publish(learned)

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
            self._sender.close()
            shutil.rmtree(self._root, ignore_errors=True)

    def publish(self, version: int) -> None:
        """Keep the learner's weights, which are of this version."""
        self._make_root()
        self._group.publish(self.folder(version))

    def _make_root(self) -> None:
        weights_folder.make(self._root, self._run)

    def _actual(self, versions: Collection[int]) -> set[int]:
        return {self._instead.get(version, version) for version in versions}

    def _folders(self, versions: Collection[int]) -> set[Path]:
        return {self.folder(version) for version in {*self._actual(versions), self._version}}

    def _published(self) -> set[Path]:
        return set(self._root.glob("v*"))

    def _forget(self, paths: set[Path]) -> None:
        for path in paths:
            if path.name != weights_folder.OWNER:
                shutil.rmtree(path, ignore_errors=True)

    async def _check(self) -> None:
        """Compare the engine's log-probs of its own replies with the learner's."""
        count = max(_PROBES, len(parts_of(self.engine)))  # each engine gets one: they are shared out evenly
        packs = Mixture.of(self._config.world).packs("validation", 0, 0, count)
        asked = [probes.prompt_of(pack, self._chat, self._config.world.rendering) for pack in packs]
        async with asyncio.timeout(self._config.sampling.deadline_s):
            replies = await asyncio.gather(*(self._ask(ids, tag) for ids, tag in asked))
        rows = [probes.row_of(ids, reply) for (ids, _), reply in zip(asked, replies, strict=True)]
        gaps = [
            abs(said - scored)
            for reply, scores in zip(replies, self._group.score(rows), strict=True)
            for said, scored in zip(reply.logprobs, scores.tolist(), strict=True)
        ]
        gap = sum(gaps) / len(gaps)
        limit = probes.TOLERANCE[self._config.model.dtype]
        if not gap <= limit:
            raise StageError(
                f"weight sync failed at step {self._version}: the log-probs of engine and learner differ by {gap:.3g} "
                f"on average (limit {limit:.3g})",
                hint="an external server needs the same model and dtype, and --logprobs-mode processed_logprobs",
            )

    async def _ask(self, ids: Sequence[int], tag: RequestTag) -> Generation:
        sampling = Sampling(probes.TOKENS, self._config.sampling.temperature, self._chat.stop_ids)
        seed = derive_seed("probe", self._version, tag.pack)
        return await self.engine.generate(ids, sampling, seed=seed, tag=tag)


def _version_of(folder: Path) -> int:
    """The number in the name of a folder of weights; what has another name is of no version that there is."""
    number = folder.name.removeprefix("v")
    return int(number) if number.isdecimal() else -1
