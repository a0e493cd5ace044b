"""What is timed: rollouts, learner steps and a warm start of the size of the tiny recipe, on one thread.

Everything is done by functions of codctl that change seldom, so that the same code times any commit of it. What a
workload samples is digested: two commits that sample the same tokens have the same digest.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from bounds import Products, of_learning, of_rollouts
from lengths import DrawnLengths, ReadableChat
from lock_step import LockStep, OfEngine
from machine import ROOT
from rows import on_policy, short_rows

from codctl.cod.engine import Weights
from codctl.cod.mixture import Mixture
from codctl.cod.rollout import Player, play_all
from codctl.cod.trajectory import EpisodeRecord, Trajectory
from codctl.config.compose import load_config
from codctl.config.schema import Config, LossConfig, TrainConfig
from codctl.learner.batching import samples_of
from codctl.learner.demonstrations import demonstrations
from codctl.learner.imitation import Imitation
from codctl.learner.learner import Learner
from codctl.models.build import build_folder
from codctl.models.load import load_trainable
from codctl.train.setup import Speaker, export, load_speaker, open_in_process, rollout_settings

SPREAD = 0.6
SOLVE, UPDATE = 16, 32  # median tokens of drawn lengths
GROUP = 8
WARM_PACKS = 150
LEARNED_PACKS = 4  # a quarter of the recipe's, with a quarter of its token budget
MICRO_BATCH = 2048


@dataclass(frozen=True)
class Done:
    """What a workload did, beside the time that it took.

    Attributes:
        digest: Of all token ids sampled, or "" where none are.
        counts: Numbers that do not depend on the machine, such as forward passes.
    """

    digest: str = ""
    counts: dict[str, float] = field(default_factory=dict)


class Workload(Protocol):
    def __call__(self) -> Done: ...

    def bound(self) -> float:
        """CPU seconds of the matrix products alone; after a call."""


def tiny(*changes: str) -> Config:
    """The tiny recipe of the checkout that is timed."""
    return load_config(str(ROOT / "recipes/tiny.yaml"), ["model.device=cpu", "runtime.threads=1", *changes])


def prepare(folder: Path) -> None:
    """Write the tiny recipe's model after a short warm start: it plays, more or less."""
    config = tiny("model.build.max_tokens=1024", f"warm_start.packs={WARM_PACKS}")
    with tempfile.TemporaryDirectory() as work:
        start = Path(work) / "start"
        build_folder(config.model.build, config.world, config.seed, start)
        speaker = load_speaker(start, config.model.dtype, "cpu")
        model = _imitate(config, start, speaker, demonstrations(config, speaker.chat, rollout_settings(config)))
        export(Speaker(model, speaker.tokenizer, speaker.chat), config, folder)


def _imitate(config: Config, start: Path, speaker: Speaker, episodes: list[EpisodeRecord]) -> Any:
    model = load_trainable(start, config, "cpu")
    with tempfile.TemporaryDirectory() as work:
        imitation = Imitation(model, config, tokenizer=speaker.tokenizer, folder=Path(work))
        imitation.train_on(episodes, lambda step: None, lambda place: None)
    return model


class Rollouts:
    """The same packs, again and again, by codctl's rollout.

    Args:
        folder: Model that plays.
        packs: Each is played by GROUP trajectories at a time.
        drawn: Lengths of replies are drawn, as uneven as an LLM's; otherwise the model plays as it does.
        lock_step: All trajectories make a turn together, on the same engine.
    """

    def __init__(self, folder: Path, *, packs: int, drawn: bool, lock_step: bool = False) -> None:
        more = ["world.preset=easy", "sampling.update_tokens=1024"] if drawn else []
        config = tiny(*more)
        speaker = load_speaker(folder, config.model.dtype, "cpu")
        self._engine = open_in_process(config, speaker)
        engine: Any = LockStep(OfEngine(self._engine)) if lock_step else self._engine
        chat: Any = ReadableChat(speaker.chat) if drawn else speaker.chat
        lengths = DrawnLengths(engine, solve=SOLVE, update=UPDATE, spread=SPREAD) if drawn else engine
        self._player = Player(lengths, chat, rollout_settings(config), config.seed)
        self._packs = Mixture.of(config.world).packs("train", config.seed, 0, packs)
        self._products, self._played = Products.of(speaker.model), list[Trajectory]()

    def bound(self) -> float:
        return of_rollouts(self._products, self._played)

    def __call__(self) -> Done:
        async def play() -> Any:
            await self._engine.update_weights(Weights(0))
            return await play_all(self._player, self._packs, GROUP)

        trajectories = self._played = asyncio.run(play())
        episodes = [episode for trajectory in trajectories for episode in trajectory.episodes]
        if failed := next((episode.failed for episode in episodes if episode.failed), ""):
            raise RuntimeError(f"an episode failed: {failed}")
        chains = [sum(sum(episode.loss_mask) for episode in one.episodes) for one in trajectories]
        stats = asdict(self._engine.stats)
        counts = {name: stats[name] for name in ("forwards", "rows", "prompt_tokens", "cached_tokens", "new_tokens")}
        return Done(_digest(episode.ids for episode in episodes), {**counts, "least_forwards": int(max(chains))})


class LearnerStep:
    """A step on rows of the tiny recipe, in micro-batches of MICRO_BATCH tokens."""

    def __init__(self, folder: Path) -> None:
        config = tiny()
        speaker = load_speaker(folder, config.model.dtype, "cpu")
        self._rows = on_policy(speaker.model, short_rows(config, speaker.chat, LEARNED_PACKS))
        settings = TrainConfig(micro_batch_tokens=MICRO_BATCH, lr=1e-6, loss=LossConfig(red=False))
        self.model, self._settings, self._pad_id = speaker.model, settings, speaker.tokenizer.pad_token_id

    def bound(self) -> float:
        return of_learning(Products.of(self.model), self._rows, MICRO_BATCH)

    def __call__(self) -> Done:
        learner = Learner(copy.deepcopy(self.model), self._settings, pad_id=self._pad_id, temperature=1.0, seed=0)
        metrics = learner.learn(self._rows, 1)
        tokens = sum(len(row.ids) for row in self._rows)
        return Done(f"{metrics['grad_norm']:.6g}", {"rows": len(self._rows), "tokens": tokens})


class WarmStart:
    """Supervised learning from WARM_PACKS packs of demonstrations, one epoch, from random weights."""

    def __init__(self, folder: Path) -> None:
        self.config = tiny(f"warm_start.packs={WARM_PACKS}", "warm_start.epochs=1")
        self._folder, self.speaker = folder, load_speaker(folder, "float32", "cpu")
        self._episodes = demonstrations(self.config, self.speaker.chat, rollout_settings(self.config))
        self.rows = [row for number, episode in enumerate(self._episodes) for row in samples_of(episode, 1.0, number)]

    def bound(self) -> float:
        """In micro-batches of the size that a learner step has here: the recipe's may be larger."""
        return of_learning(Products.of(self.speaker.model), self.rows, MICRO_BATCH)

    def __call__(self) -> Done:
        _imitate(self.config, self._folder, self.speaker, self._episodes)
        tokens = sum(len(episode.ids) for episode in self._episodes)
        return Done("", {"rows": len(self._episodes), "tokens": tokens})


def _digest(rows: Iterable[Any]) -> str:
    found = hashlib.sha256()
    for ids in rows:
        found.update(",".join(map(str, ids)).encode() + b";")
    return found.hexdigest()[:16]


WORKLOADS: dict[str, tuple[str, Callable[[Path], Workload]]] = {
    "rollouts-16": (
        "rollouts, 16 seats, drawn reply lengths (spread 0.6)",
        lambda folder: Rollouts(folder, packs=2, drawn=True),
    ),
    "lock-step-16": (
        "the same in lock step, on the same engine",
        lambda folder: Rollouts(folder, packs=2, drawn=True, lock_step=True),
    ),
    "rollouts-128": (
        "rollouts, 128 seats, drawn reply lengths (spread 0.6)",
        lambda folder: Rollouts(folder, packs=16, drawn=True),
    ),
    "rollouts-tiny": (
        "rollouts of a step of recipes/tiny.yaml (128 seats)",
        lambda folder: Rollouts(folder, packs=16, drawn=False),
    ),
    "learner-short": ("a learner step, short rows", LearnerStep),
    "warm-start": (f"warm start, {WARM_PACKS} packs", WarmStart),
}
