"""The learner: takes scored episodes of any number and length, makes one or more optimiser steps.

It is blind to packs, positions and worlds: a sample carries its own advantage.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import torch

from codctl.config.schema import TrainConfig
from codctl.errors import StageError
from codctl.learn.batching import Sample, count_tokens, micro_batches
from codctl.learn.losses import red_weights, row_weights, token_loss
from codctl.learn.token_logprobs import TokenLogprobs, collate
from codctl.seeds import derive_seed


@dataclass
class _Sums:
    """What one `learn` call adds up over its micro-batches."""

    loss: float = 0.0
    grad_norm: float = 0.0
    entropy: float = 0.0
    gap: float = 0.0
    gap_k3: float = 0.0
    gap_max: float = 0.0
    tokens: int = 0
    useful: int = 0
    forwarded: int = 0


def learning_rate(config: TrainConfig, step: int) -> float:
    """Learning rate of a rollout step, counted from 1: a pure function, so a resumed run needs no schedule state."""
    if step <= config.lr_warmup_steps:
        return config.lr * step / config.lr_warmup_steps
    done = (step - 1 - config.lr_warmup_steps) / max(config.steps - config.lr_warmup_steps, 1)
    factors = {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}
    return config.lr * factors[config.lr_schedule]


class Learner:
    """Own training loop on accelerate.

    Args:
        model: Causal model, or PEFT-wrapped one; it is trained in place.
        config: Loss, optimiser and batching.
        pad_id: Token that fills short rows.
        temperature: At which the tokens were sampled.
        seed: Root seed (order of rows over several optimiser steps).
    """

    def __init__(self, model: Any, config: TrainConfig, *, pad_id: int, temperature: float, seed: int) -> None:
        from accelerate import Accelerator

        self._config, self._pad_id, self._seed = config, pad_id, seed
        # The model is on its device already; accelerate must not move it elsewhere.
        self._accelerator = Accelerator(cpu=next(model.parameters()).device.type == "cpu")
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay)
        self._logprobs, self.optimizer = self._accelerator.prepare(TokenLogprobs(model, temperature), optimizer)

    def learn(self, samples: Sequence[Sample], step: int) -> dict[str, float]:
        """Make the configured number of optimiser steps on these samples.

        Args:
            samples: Any number; those without sampled tokens are dropped.
            step: Rollout step, names the order of rows.

        Returns:
            Metrics of this call. The gap compares sampling and training log-probs before each optimiser step (so it is
            pure numerical difference only at the first).
        """
        rows = [sample for sample in samples if sample.loss_tokens]
        if self._config.loss.red:
            scaled = red_weights([row.advantage for row in rows], [row.loss_tokens for row in rows])
            rows = [replace(row, advantage=advantage) for row, advantage in zip(rows, scaled, strict=True)]
        Random(derive_seed(self._seed, "learn", step)).shuffle(rows)
        parts = [rows[i :: self._config.optimizer_steps] for i in range(self._config.optimizer_steps)]
        sums = _Sums()
        lr = learning_rate(self._config, step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        for part in parts:
            self._optimizer_step(part, sums)
        tokens = max(sums.tokens, 1)
        return {
            "loss": sums.loss / len(parts),
            "grad_norm": sums.grad_norm / len(parts),
            "lr": lr,
            "entropy": sums.entropy / tokens,
            "logprob_gap/mean": sums.gap / tokens,
            "logprob_gap/max": sums.gap_max,
            "logprob_gap/k3": sums.gap_k3 / tokens,
            "tokens/forwarded": float(sums.forwarded),
            "tokens/useful_fraction": sums.useful / max(sums.forwarded, 1),
        }

    def _optimizer_step(self, rows: list[Sample], sums: _Sums) -> None:
        if not any(row.advantage for row in rows):
            return  # nothing to learn; moving by stale momentum would not be learning either
        weight_of = dict(zip(map(id, rows), row_weights(rows, self._config.loss.mean), strict=True))
        batches = micro_batches(rows, self._config.micro_batch_tokens)
        self._logprobs.train()
        for batch in batches:
            loss = self._loss(batch, [weight_of[id(row)] for row in batch], sums)
            self._accelerator.backward(loss)
        norm = float(self._accelerator.clip_grad_norm_(self._logprobs.parameters(), self._config.grad_clip))
        if not math.isfinite(norm):  # before it reaches the weights and a sealed checkpoint
            raise StageError(
                f"the gradient is not finite (norm {norm}); nothing was changed by this step",
                hint="lower train.lr or train.grad_clip; the same command continues from the newest checkpoint",
            )
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._logprobs.eval()
        sums.grad_norm += norm
        counted = count_tokens(batches)
        sums.useful += counted.useful
        sums.forwarded += counted.forwarded

    def _loss(self, batch: list[Sample], weights: list[float], sums: _Sums) -> torch.Tensor:
        """Weighted loss of one micro-batch; these add up to the loss of the whole optimiser batch."""
        rows = collate(batch, weights, self._pad_id, self._accelerator.device)
        logprobs_N, entropies_N = self._logprobs(rows.ids_BT, rows.mask_BT, rows.loss_mask_BT)
        chosen = rows.loss_mask_BT
        old_N = rows.old_logprobs_BT[chosen]
        losses_N = token_loss(
            self._config.loss.kind, logprobs_N, old_N, rows.advantages_BT[chosen], self._config.loss.clip
        )
        loss = (losses_N * rows.weights_BT[chosen]).sum()
        with torch.no_grad():
            difference_N = old_N - logprobs_N
            sums.loss += float(loss)
            sums.tokens += len(logprobs_N)
            sums.entropy += float(entropies_N.sum())
            sums.gap += float(difference_N.abs().sum())
            sums.gap_max = max(sums.gap_max, float(difference_N.abs().max()))
            sums.gap_k3 += float((difference_N.exp() - difference_N - 1).sum())
        return loss
