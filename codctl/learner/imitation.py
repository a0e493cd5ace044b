"""Supervised fine-tuning on demonstrations: in which order, with which learning rates, and from which checkpoint on.

The steps are made by the learner of CoD-Train or by TRL (`warm_start.trainer`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from codctl.cod.trajectory import EpisodeRecord
from codctl.config.defaults import warm_start_lr
from codctl.config.schema import Config, LossConfig, TrainConfig
from codctl.learner import checkpoints
from codctl.learner.batching import Sample, samples_of
from codctl.learner.demonstrations import other_source
from codctl.learner.learner import After, Learner
from codctl.models.load import processes_of

_MOST_WARMUP_STEPS = 20
_MOST_KEPT = 2  # checkpoints: they only serve to continue, and are deleted when the warm start ends


@dataclass(frozen=True)
class SftStep:
    """One optimiser step.

    Attributes:
        step: From 1.
        loss: Mean negative log-likelihood of its demonstrated tokens, before the step.
        lr: Learning rate.
        grad_norm: Before clipping.
    """

    step: int
    loss: float
    lr: float
    grad_norm: float


@dataclass(frozen=True)
class Place:
    """How far the fine-tuning is.

    Attributes:
        rows: Rows learned from (an episode, or a turn of one), those of the step that is being made included.
        all_rows: In all epochs.
        tokens: That the model has read since this attempt began.
        newest: The last step; None before the first.
    """

    rows: int
    all_rows: int
    tokens: int
    newest: SftStep | None


Report = Callable[[SftStep], None]


class Steps(checkpoints.Saved, Protocol):
    """What makes the optimiser steps."""

    def make(
        self, batches: Sequence[Sequence[Sample]], lrs: Sequence[float], first: int, report: Report, after: After
    ) -> None:
        """Make a step of each batch.

        Args:
            batches: Rows; the loss is the mean over the sampled tokens of a batch.
            lrs: Learning rates, one for each batch.
            first: Number of the step that the first batch makes, from 1.
            report: Called after each step.
            after: Called after each micro-batch with its rows.
        """


class _LearnerSteps:
    """By the learner of CoD-Train, with its micro-batches and memory.

    With an advantage of 1 and a sampling probability of 1 the bound of the `rec` loss never binds, and what is left of
    it is the mean negative log-likelihood of the sampled tokens.
    """

    def __init__(self, model: Any, pad_id: int, config: Config, settings: TrainConfig) -> None:
        dtype = getattr(torch, config.model.dtype)
        self._learner = Learner(
            model,
            settings,
            pad_id=pad_id,
            temperature=1.0,
            seed=config.seed,
            dtype=dtype,
            processes=processes_of(config),
        )
        self.ranks, self.is_sharded, self.optimizer = self._learner.ranks, False, self._learner.optimizer
        self.trained = self._learner.trained

    def make(
        self, batches: Sequence[Sequence[Sample]], lrs: Sequence[float], first: int, report: Report, after: After
    ) -> None:
        for step, (batch, lr) in enumerate(zip(batches, lrs, strict=True), first):
            metrics = self._learner.learn(batch, step, lr=lr, after=after)
            report(SftStep(step, metrics["loss"], lr, metrics["grad_norm"]))


class Imitation:
    """Fine-tunes a model in place, and continues where its newest checkpoint ends.

    Args:
        model: From `trainable.load_trainable`: all its weights train, or its adapters.
        config: Recipe.
        tokenizer: Of the model.
        folder: Of the checkpoints.
        source: Digest of the demonstrations, where they come from a folder.
    """

    def __init__(self, model: Any, config: Config, *, tokenizer: Any, folder: Path, source: str = "") -> None:
        self._config, self._folder, self._source = config, folder, source
        self._trainer = _trainer(model, tokenizer, config)
        self.steps: list[SftStep] = []
        self._saved_s = time.monotonic()

    def restore(self) -> list[str]:
        """Load the newest complete checkpoint, if there is one; why newer ones were passed over.

        Raises:
            RefusedError: It has learned from other demonstrations.
        """
        found = checkpoints.load_newest(self._folder, self._trainer)
        if found.step and found.info["source"] != self._source:
            raise other_source(str(self._config.warm_start.demonstrations))
        self.steps = [SftStep(**step) for step in found.info.get("steps", ())]
        return found.skipped

    def train_on(self, episodes: Sequence[EpisodeRecord], report: Report, watch: Callable[[Place], None]) -> None:
        """Make all the steps that are left.

        A checkpoint is written every `warm_start.checkpoint_s` seconds, and when a signal or a request ends it early:
        the order of rows and the learning rate are functions of the recipe, so the rest follows from that.

        Args:
            episodes: Demonstrations; the loss is on their sampled tokens only.
            report: Called after each step.
            watch: Called before the first micro-batch and after each.
        """
        batches, made = list(_batches(episodes, self._config)), len(self.steps)
        rows = sum(len(batch) for batch in batches[:made])
        all_rows = sum(map(len, batches))
        tokens = 0

        def after(more: Sequence[Sample]) -> None:
            nonlocal rows, tokens
            rows += len(more)
            tokens += sum(len(row.ids) for row in more)
            watch(Place(rows, all_rows, tokens, self.steps[-1] if self.steps else None))

        def kept(step: SftStep) -> None:
            self.steps.append(step)
            report(step)
            if time.monotonic() - self._saved_s >= self._config.warm_start.checkpoint_s:
                self._save()

        after(())
        peak = warm_start_lr(self._config)
        lrs = [peak * _lr_factor(step, len(batches)) for step in range(made + 1, len(batches) + 1)]
        try:
            self._trainer.make(batches[made:], lrs, made + 1, kept, after)
        except (KeyboardInterrupt, SystemExit):
            if self._made == len(self.steps):  # not in the moment between a step and its record
                self._save()
            raise

    @property
    def _made(self) -> int:
        """Steps that the optimiser has made."""
        return next((int(state["step"]) for state in self._trainer.optimizer.state.values()), 0)

    def _save(self) -> None:
        step = len(self.steps)
        if step:
            info = {"steps": [asdict(one) for one in self.steps], "source": self._source}
            checkpoints.save(self._folder, self._trainer, step, info=info)
            kept = min(self._config.train.checkpoints_kept or _MOST_KEPT, _MOST_KEPT)
            checkpoints.prune(self._folder, kept, newest=step)
        self._saved_s = time.monotonic()


def _trainer(model: Any, tokenizer: Any, config: Config) -> Steps:
    if config.warm_start.trainer == "trl":
        from codctl.learner.trl_sft import TrlSft

        return TrlSft(model, tokenizer, config, _settings(config))
    return _LearnerSteps(model, tokenizer.pad_token_id or 0, config, _settings(config))


def _settings(config: Config) -> TrainConfig:
    """The learner's: the memory of the recipe, and plain AdamW on the mean over tokens."""
    train = config.train
    return TrainConfig(
        loss=LossConfig(kind="rec", red=False, mean="token"),
        grad_clip=1.0,
        micro_batch_tokens=train.micro_batch_tokens,
        logprob_chunk=train.logprob_chunk,
    )


def _batches(episodes: Sequence[EpisodeRecord], config: Config) -> Iterator[list[Sample]]:
    """The rows of each optimiser step; every epoch has an order of its own."""
    rows = [
        replace(row, logprobs=np.zeros_like(row.logprobs))
        for number, episode in enumerate(episodes)
        for row in samples_of(episode, 1.0, number)
    ]
    each = config.warm_start.batch_rows
    for epoch in range(config.warm_start.epochs):
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(config.seed + epoch)).tolist()
        for first in range(0, len(order), each):
            yield [rows[place] for place in order[first : first + each]]


def _lr_factor(step: int, total: int) -> float:
    """It rises from 0 over the first steps, is 1, and falls along a half cosine over the last third."""
    done, falling = step - 1, max(1, total // 3)
    rising = min(_MOST_WARMUP_STEPS, total // 3)
    if done < rising:
        return done / rising
    past = done - (total - falling)
    return 1.0 if past < 0 else (1 + math.cos(math.pi * past / falling)) / 2
