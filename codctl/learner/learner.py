"""The learner: takes scored episodes of any number and length, makes one or more optimiser steps.

It is blind to packs, positions and worlds: a sample carries its own advantage.
"""

from __future__ import annotations

import ctypes
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from functools import cache, partial
from random import Random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from codctl.config.defaults import learning_rate
from codctl.config.registries import LOSSES
from codctl.config.schema import DistillConfig, TrainConfig
from codctl.errors import StageError
from codctl.forks import Fork, Send, one_thread_each
from codctl.learner.batching import (
    PASS_TOKENS,
    PASS_TOKENS_ON_CPU,
    Sample,
    balanced,
    by_episode,
    by_teacher,
    count_tokens,
    micro_batches,
)
from codctl.learner.distillation import Distilled, Lessons, Tally, lessons_of
from codctl.learner.losses import LossInputs, kl_penalty, kl_to_start, red_weights, row_weights
from codctl.learner.parallel import ParallelModel, Ranks, Strategy, shards
from codctl.learner.token_logprobs import MicroBatch, TokenLogprobs, collate
from codctl.models.outline import Outline
from codctl.models.sequence_parallel import Part, check_split
from codctl.runs.signals import blocked
from codctl.seeds import derive_seed

Judge = Callable[[Mapping[str, float]], bool]
After = Callable[[Sequence[Sample]], None]

# What was given back has to be asked for again: after each short step that took a third of its time.
_TRIM_EVERY_S = 5.0


@dataclass
class _Sums:
    """What one `learn` call adds up over its micro-batches; of `gap_max` the largest."""

    loss: float = 0.0
    entropy: float = 0.0
    gap: float = 0.0
    gap_k3: float = 0.0
    gap_max: float = 0.0
    kl: float = 0.0
    tokens: float = 0
    useful: float = 0
    forwarded: float = 0

    def add(self, more: _Sums) -> None:
        """What another process has added up of the same call."""
        for one in fields(self):
            mine, other = getattr(self, one.name), getattr(more, one.name)
            setattr(self, one.name, max(mine, other) if one.name == "gap_max" else mine + other)

    def over(self, ranks: Ranks) -> _Sums:
        """The same over all processes."""
        added = [one.name for one in fields(self) if one.name != "gap_max"]
        sums = ranks.sum([getattr(self, name) for name in added])
        [largest] = ranks.max([self.gap_max])
        return _Sums(**dict(zip(added, sums, strict=True)), gap_max=largest)

    def metrics(self, *, has_reference: bool) -> dict[str, float]:
        tokens = max(self.tokens, 1)
        return {
            **({"kl/start": self.kl / tokens} if has_reference else {}),
            "loss": self.loss,
            "entropy": self.entropy / tokens,
            "logprob_gap/mean": self.gap / tokens,
            "logprob_gap/max": self.gap_max,
            "logprob_gap/k3": self.gap_k3 / tokens,
            "tokens/forwarded": float(self.forwarded),
            "tokens/useful_fraction": self.useful / max(self.forwarded, 1),
        }


class Learner:
    """Own training loop. With several processes every one of them calls the same methods with the same samples.

    Args:
        model: Causal model, or PEFT-wrapped one, on its device; it is trained in place.
        config: Loss, optimiser and batching.
        pad_id: Token that fills short rows.
        temperature: At which the tokens were sampled.
        seed: Root seed (order of rows over several optimiser steps).
        ranks: The processes that learn together.
        strategy: How the model is spread over them.
        dtype: Of the arithmetic and of what is published (`model.dtype`).
        device: Of this process; None is that of the model.
        outline: Of the model, when it is sharded and its weights are to be read now.
        distill: How rows with lessons are learned; None where there are none.
        processes: In which the gradients of micro-batches are computed on a CPU, by forks of this one (`codctl.forks`).
    """

    def __init__(
        self,
        model: Any,
        config: TrainConfig,
        *,
        pad_id: int,
        temperature: float,
        seed: int,
        ranks: Ranks | None = None,
        strategy: Strategy = "ddp",
        dtype: torch.dtype = torch.float32,
        device: torch.device | None = None,
        outline: Outline | None = None,
        distill: DistillConfig | None = None,
        processes: int = 1,
    ) -> None:
        self.model, self.dtype, self.ranks = model, dtype, ranks or Ranks()
        self._config, self._pad_id, self._seed = config, pad_id, seed
        self._distill = distill if distill and distill.teachers else None
        self._rewards = self._distill.mix.reward if self._distill else 1.0  # weight of what rewards say
        self._tally = Tally([])  # of what one `learn` call distils
        self._trimmed_s = -math.inf
        is_sharded = shards(strategy, self.ranks)
        self._splits = config.split_long_rows and self.ranks.size > 1
        if self._splits:
            check_split(model, self.ranks.size)
        autocast = None if dtype == torch.float32 or is_sharded else dtype  # shards are gathered in this type
        self._device = device or next(model.parameters()).device
        # What is added up of lessons stays in the process that has them; where there are ranks, these are processes.
        self._processes = processes if self.ranks.size == 1 and self._distill is None else 1
        self._logprobs = TokenLogprobs(model, temperature, chunk=config.logprob_chunk, autocast=autocast)
        self._parallel = ParallelModel(
            self._logprobs, self.ranks, strategy, dtype, device=self._device, outline=outline
        )
        trained = [p for p in model.parameters() if p.requires_grad]  # shards by now, where there are any
        self.optimizer = torch.optim.AdamW(trained, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay)
        self._token_loss = LOSSES.get(config.loss.kind)
        # Made before any checkpoint is loaded: after a resume it is the start model again.
        self._start = self._parallel.copy_of_trained() if config.loss.needs_reference else None

    @property
    def is_sharded(self) -> bool:
        """Whether each process holds but a part of the model."""
        return self._parallel.is_sharded

    def trained(self) -> list[tuple[str, torch.nn.Parameter]]:
        """Parameters that train, by the model's own names; shared ones once; where there are shards, these."""
        self._parallel.reshard()
        return [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]

    def learn(
        self,
        samples: Sequence[Sample],
        step: int,
        judge: Judge | None = None,
        *,
        lr: float | None = None,
        after: After = lambda rows: None,
    ) -> dict[str, float]:
        """Make the configured number of optimiser steps on these samples.

        Args:
            samples: Any number; those without sampled tokens are dropped.
            step: Rollout step, names the order of rows.
            judge: Asked by rank 0 before each optimiser step, with the metrics of its rows; no leaves that step out.
            lr: Learning rate; None is that of the recipe at this step.
            after: Called after each micro-batch of this process with its rows.

        Returns:
            Metrics of this call, over all processes. The gap compares sampling and training log-probs before each
            optimiser step (so it is pure numerical difference only at the first).

        Raises:
            StageError: The gradient is not finite, and no judge has left the step out.
        """
        rows = [sample for sample in samples if sample.loss_tokens]
        if self._config.loss.red and self._rewards:
            scaled = red_weights([row.advantage for row in rows], [row.loss_tokens for row in rows])
            rows = [replace(row, advantage=advantage) for row, advantage in zip(rows, scaled, strict=True)]
        rows = [replace(row, index=index) for index, row in enumerate(rows)]
        references = self._reference(rows)
        episodes, steps = by_episode(rows), self._config.optimizer_steps
        Random(derive_seed(self._seed, "learn", step)).shuffle(episodes)
        parts = [[row for episode in episodes[i::steps] for row in episode] for i in range(steps)]
        sums, norms = _Sums(), 0.0
        self._tally = Tally([row.lesson.label for row in rows if row.lesson])
        lr = learning_rate(self._config, step) if lr is None else lr
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        for part in parts:
            norms += self._optimizer_step(part, references, sums, judge, after)
            if self._device.type == "cpu" and time.monotonic() >= self._trimmed_s + _TRIM_EVERY_S:
                give_back_freed()
                self._trimmed_s = time.monotonic()
        metrics = self._metrics(sums)
        return {
            **metrics,
            **(self._tally.metrics(self.ranks.sum, self._distill.estimator) if self._distill else {}),
            "loss": metrics["loss"] / len(parts),
            "grad_norm": norms / len(parts),
            "lr": lr,
        }

    def score(self, samples: Sequence[Sample]) -> list[NDArray[np.float32]]:
        """Log-probs of each sample's sampled tokens, as the model is now; the same list in every process."""
        indexed = [replace(sample, index=index) for index, sample in enumerate(samples)]
        found: dict[int, NDArray[np.float32]] = {}
        for batch in self._dealt([row for row in indexed if row.loss_tokens]):
            logprobs_N, *_ = self._parallel.score(self._collated(batch, [0.0] * len(batch)))
            for sample, own in zip(batch, logprobs_N.split([s.loss_tokens for s in batch]), strict=True):
                found[sample.index] = own.cpu().numpy()
        merged = {index: own for part in self.ranks.all_gather(lambda: found) for index, own in part.items()}
        return [merged.get(index, np.zeros(0, np.float32)) for index in range(len(samples))]

    def _reference(self, rows: Sequence[Sample]) -> list[NDArray[np.float32]] | None:
        """Log-probs of the sampled tokens under the start model, by the rows' indices; None where nobody asks."""
        if self._start is None:
            return None
        with self._parallel.exchanged(self._start):
            return self.score(rows)

    def _collated(self, batch: Sequence[Sample], weights: Sequence[float]) -> MicroBatch:
        rows = collate(batch, weights, self._pad_id, self._device, packed=self._logprobs.packed)
        return replace(rows, part=Part(self.ranks.rank, self.ranks.size)) if self._is_split(batch) else rows

    def _is_split(self, batch: Sequence[Sample]) -> bool:
        """Whether all processes compute it together, each a part of its tokens."""
        is_long = len(batch) == 1 and len(batch[0].ids) > self._config.micro_batch_tokens
        return is_long and self._splits

    def _counts(self, batch: Sequence[Sample]) -> bool:
        """Whether sums have it from this process: what all compute together counts once."""
        return self.ranks.is_rank_0 or not self._is_split(batch)

    def _metrics(self, sums: _Sums) -> dict[str, float]:
        return sums.over(self.ranks).metrics(has_reference=self._start is not None)

    def _dealt(self, rows: Sequence[Sample]) -> list[list[Sample]]:
        """This process's micro-batches, none with rows of two teachers; every process gets as many, some empty."""
        packed = self._logprobs.packed
        each = PASS_TOKENS_ON_CPU if self._device.type == "cpu" else PASS_TOKENS
        batches = [
            batch
            for part in by_teacher(rows)
            for batch in micro_batches(part, self._config.micro_batch_tokens, packed=packed, pass_tokens=each)
        ]
        together = [batch for batch in batches if self._is_split(batch)]
        others = [batch for batch in batches if not self._is_split(batch)]
        return [*together, *balanced(others, self.ranks.size, packed=packed)[self.ranks.rank]]

    def _optimizer_step(
        self,
        rows: list[Sample],
        references: Sequence[NDArray[np.float32]] | None,
        total: _Sums,
        judge: Judge | None,
        after: After,
    ) -> float:
        """Make one step, unless there is nothing to learn or the judge says no; the norm of its gradient."""
        is_rewarded = bool(self._rewards) and any(row.advantage for row in rows)
        if not rows or not (self._config.loss.kl or is_rewarded or any(row.lesson for row in rows)):
            return 0.0  # nothing to learn; moving by stale momentum would not be learning either
        weights = row_weights(rows, self._config.loss.mean)
        weight_of = {row.index: weight for row, weight in zip(rows, weights, strict=True)}
        batches, own = self._dealt(rows), _Sums()
        self._logprobs.train()

        def compute(batch: list[Sample], *, last: bool) -> None:
            own_weights = [weight_of[row.index] for row in batch]
            with self._parallel.micro_batch(last=last):
                self._parallel.backward(self._loss(batch, own_weights, references, own))

        if self._processes > 1:
            dealt = balanced(batches, self._processes, packed=self._logprobs.packed)
            shares = [[batch for batch in share if batch] for share in dealt if any(share)]
            batches = [batch for share in shares for batch in share]
            self._shared(shares, partial(compute, last=True), own, after)
        else:
            for place, batch in enumerate(batches):
                compute(batch, last=place == len(batches) - 1)
                after(batch)
        norm = self._parallel.clip(math.inf if self._config.grad_clip is None else self._config.grad_clip)
        counted = count_tokens([batch for batch in batches if self._counts(batch)], packed=self._logprobs.packed)
        own.useful, own.forwarded = counted.useful, counted.forwarded
        total.add(own)
        if self._is_good(norm, own, judge):
            with blocked():  # a signal never leaves half of a step
                self.optimizer.step()
        self.optimizer.zero_grad()
        self._logprobs.eval()
        return norm

    def _shared(
        self,
        shares: Sequence[Sequence[list[Sample]]],
        compute: Callable[[list[Sample]], None],
        own: _Sums,
        after: After,
    ) -> None:
        """Compute the gradients of several shares of the micro-batches at once, and add them up in their order."""
        trained = [p for p in self.model.parameters() if p.requires_grad]

        def work(share: Sequence[list[Sample]], send: Send) -> None:
            for batch in share:
                compute(batch)
                send(None)
            send((own, [None if p.grad is None else p.grad.numpy() for p in trained]))

        with one_thread_each(len(shares)), ExitStack() as stack:
            forks = [stack.enter_context(Fork(partial(work, share))) for share in shares[1:]]
            for batch in shares[0]:
                compute(batch)
                after(batch)
            for fork, share in zip(forks, shares[1:], strict=True):
                for batch in share:
                    fork.receive()
                    after(batch)
                sums, gradients = fork.receive()
                own.add(sums)
                for parameter, gradient in zip(trained, gradients, strict=True):
                    _add_gradient(parameter, gradient)

    def _is_good(self, norm: float, own: _Sums, judge: Judge | None) -> bool:
        """Whether to make the step; rank 0 decides.

        Raises:
            StageError: A gradient that is not finite shall reach neither the weights nor a sealed checkpoint.
        """
        metrics = self._metrics(own) | {"grad_norm": norm}
        verdict = self.ranks.broadcast(judge is None or judge(metrics))
        if verdict and not math.isfinite(norm):
            raise StageError(
                f"the gradient is not finite (norm {norm}); nothing was changed by this step",
                hint="lower train.lr or train.grad_clip; the same command continues from the newest checkpoint",
            )
        return bool(verdict)

    def _loss(
        self,
        batch: list[Sample],
        weights: list[float],
        references: Sequence[NDArray[np.float32]] | None,
        sums: _Sums,
    ) -> torch.Tensor:
        """Weighted loss of one micro-batch; these add up to the loss of the whole optimiser batch."""
        rows = self._collated(batch, weights)
        if self._distill:
            rows = replace(rows, lessons=lessons_of(batch, self._distill.clamp, self._device))
        logprobs_N, entropies_N, distilled = self._parallel.forward(rows)
        inputs = self._inputs(batch, rows, logprobs_N, references)
        losses_N = self._token_loss(inputs) if self._rewards else 0 * logprobs_N
        if self._distill and self._rewards:
            losses_N = self._rewards * losses_N
        if self._config.loss.kl:
            losses_N = losses_N + self._config.loss.kl * kl_penalty(inputs)
        if self._distill and rows.lessons and distilled is not None:
            losses_N = losses_N + self._taught(inputs, rows.lessons, distilled)
            if self._counts(batch):
                self._tally.add(rows.lessons, logprobs_N.detach(), distilled, entropies_N)
        loss: torch.Tensor = (losses_N * rows.weights_BT[rows.loss_mask_BT]).sum()
        if self._counts(batch):
            with torch.no_grad():
                _count(float(loss), inputs, entropies_N, sums)
        return loss

    def _taught(self, inputs: LossInputs, lessons: Lessons, distilled: Distilled) -> torch.Tensor:
        """The distillation loss of each token."""
        assert self._distill is not None
        losses_N = self._distill.mix.distill * lessons.scales_N * distilled.losses_N
        if self._distill.weight == "ratio":
            losses_N = losses_N * inputs.ratios().detach()
        return losses_N

    def _inputs(
        self,
        batch: list[Sample],
        rows: MicroBatch,
        logprobs_N: torch.Tensor,
        references: Sequence[NDArray[np.float32]] | None,
    ) -> LossInputs:
        lengths_R = torch.tensor([row.loss_tokens for row in batch] or [0], device=self._device)
        reference_N = None
        if references is not None:
            own = [references[row.index] for row in batch]
            reference_N = torch.from_numpy(np.concatenate(own) if own else np.zeros(0, np.float32)).to(self._device)
        chosen = rows.loss_mask_BT
        return LossInputs(
            logprobs_N=logprobs_N,
            sampler_logprobs_N=rows.old_logprobs_BT[chosen],
            reference_logprobs_N=reference_N,
            advantages_N=rows.advantages_BT[chosen],
            row_N=torch.repeat_interleave(lengths_R),
            lengths_R=lengths_R,
            settings=self._config.loss,
        )


def _count(loss: float, inputs: LossInputs, entropies_N: torch.Tensor, sums: _Sums) -> None:
    if not len(inputs.logprobs_N):
        return
    difference_N = inputs.sampler_logprobs_N - inputs.logprobs_N
    sums.kl += 0.0 if inputs.reference_logprobs_N is None else float(kl_to_start(inputs).sum())
    sums.loss += loss
    sums.tokens += len(inputs.logprobs_N)
    sums.entropy += float(entropies_N.sum())
    sums.gap += float(difference_N.abs().sum())
    sums.gap_max = max(sums.gap_max, float(difference_N.abs().max()))
    sums.gap_k3 += float((difference_N.exp() - difference_N - 1).sum())


def _add_gradient(parameter: torch.nn.Parameter, gradient: NDArray[np.float32] | None) -> None:
    if gradient is None:
        return
    more = torch.from_numpy(gradient)
    if parameter.grad is None:
        parameter.grad = more
    else:
        parameter.grad += more


def give_back_freed() -> None:
    """Let the C library return what it keeps of freed memory.

    Tensors of ever other sizes leave holes, and without this a process on a CPU grows to several times what it needs.
    Elsewhere than with glibc nothing happens.
    """
    if trim := _malloc_trim():
        trim(0)


@cache
def _malloc_trim() -> Callable[[int], Any] | None:
    """Loaded once: each `CDLL` is a class and objects that refer to each other."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
