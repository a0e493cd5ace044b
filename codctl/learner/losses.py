"""Policy losses, each a function of `LossInputs`; the KL penalty, the RED weights, and how losses are averaged.

A loss outside this package is a function of the same form, which an entry point of the group `codctl.losses` or
`train.loss.kind=package.module:function` names.

Shapes: N sampled tokens of a micro-batch, R rows. A row is an episode, or one turn of it where each turn's prompt was
rendered anew.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from codctl.config.schema import LossConfig
from codctl.learner.batching import Sample, episode_keys


@dataclass(frozen=True)
class LossInputs:
    """The sampled tokens of a micro-batch, row after row. Prompt and padding tokens are left out.

    Attributes:
        logprobs_N: Under the learner, with a gradient.
        sampler_logprobs_N: Under the policy that sampled them.
        reference_logprobs_N: Under the start model; None unless `train.loss.kl` or `train.loss.reference` asks for it.
        advantages_N: Of the token's episode.
        row_N: Row of each token, from 0 to R − 1.
        lengths_R: Sampled tokens of each row.
        settings: The recipe's `train.loss`; `settings.options` is for losses outside this package.
    """

    logprobs_N: torch.Tensor
    sampler_logprobs_N: torch.Tensor
    reference_logprobs_N: torch.Tensor | None
    advantages_N: torch.Tensor
    row_N: torch.Tensor
    lengths_R: torch.Tensor
    settings: LossConfig

    def ratios(self) -> torch.Tensor:
        """Probability of each token under the learner, relative to the sampling policy; shape (N,)."""
        return torch.exp(self.logprobs_N - self.sampler_logprobs_N)

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and largest ratio by `train.loss.clip` and `clip_high`."""
        high = self.settings.clip if self.settings.clip_high is None else self.settings.clip_high
        return 1 - self.settings.clip, 1 + high

    def row_mean(self, values_N: torch.Tensor) -> torch.Tensor:
        """The mean over each row, at every token of the row; shape (N,)."""
        sums_R = values_N.new_zeros(len(self.lengths_R)).index_add(0, self.row_N, values_N)
        return (sums_R / self.lengths_R.clamp(min=1))[self.row_N]


Loss = Callable[[LossInputs], torch.Tensor]
"""Loss of each sampled token, to be minimised; shape (N,). The learner takes their weighted mean."""


def rec(inputs: LossInputs) -> torch.Tensor:
    """−A·log π, counted only while the ratio π/π_old stays on the near side of the bound.

    That is: at most 1 + clip where A > 0, at least 1 − clip where A < 0. The ratio itself is not multiplied in.

    Source: arXiv 2606.20002, "REC-OneSide-NoIS"; trinity/algorithm/policy_loss_fn/rec_policy_loss.py of
    agentscope-ai/Trinity-RFT at 1d7fae4a; deviations: none.
    """
    low, high = inputs.bounds
    advantages_N = inputs.advantages_N
    with torch.no_grad():
        ratio_N = inputs.ratios()
        inside_N = torch.where(advantages_N > 0, ratio_N <= high, ratio_N >= low)
    return -advantages_N * inputs.logprobs_N * inside_N


def grpo(inputs: LossInputs) -> torch.Tensor:
    """The clipped importance-weighted surrogate −min(rA, clamp(r, 1−clip, 1+clip)A) of PPO, by token.

    Source: arXiv 2606.20002, Eq. 1; arXiv 2402.03300; deviations: no dual clip (Eq. 1 has none, the released PPO loss
    has one at 3).
    """
    return _clipped(inputs.ratios(), inputs)


def gspo(inputs: LossInputs) -> torch.Tensor:
    """As `grpo`, with one ratio for a whole row: the geometric mean of its tokens' ratios.

    With `train.loss.mean=episode` it is the published objective; the published bounds are clip=3e-4, clip_high=4e-4.

    Source: arXiv 2507.18071, Eq. 5–7; TRL's `importance_sampling_level="sequence"`; deviations: none for rows that are
    episodes. A turn that is a row of its own has a ratio of its own.
    """
    log_ratio_N = inputs.logprobs_N - inputs.sampler_logprobs_N
    return _clipped(torch.exp(inputs.row_mean(log_ratio_N)), inputs)


def cispo(inputs: LossInputs) -> torch.Tensor:
    """−sg(min(r, 1 + clip_high))·A·log π: the ratio weighs every token and is bounded, but cuts none off.

    Source: arXiv 2506.13585, Eq. 4–5; TRL's `loss_type="cispo"`, whose `epsilon_high` is 1 + clip_high; deviations:
    none (no lower bound, as in the paper's experiments).
    """
    _, high = inputs.bounds
    weight_N = inputs.ratios().clamp(max=high).detach()
    return -weight_N * inputs.advantages_N * inputs.logprobs_N


def _clipped(ratio_N: torch.Tensor, inputs: LossInputs) -> torch.Tensor:
    clipped_N = ratio_N.clamp(*inputs.bounds)
    return -torch.minimum(ratio_N * inputs.advantages_N, clipped_N * inputs.advantages_N)


def kl_penalty(inputs: LossInputs) -> torch.Tensor:
    """KL(π ‖ π_start) by token, times the ratio to the sampling policy: then its gradient has no bias.

    Source: arXiv 2512.02556, section 3.1; TRL's `use_bias_correction_kl`; deviations: none.
    """
    return inputs.ratios() * kl_to_start(inputs)


def kl_to_start(inputs: LossInputs) -> torch.Tensor:
    """The k3 estimate of KL(π ‖ π_start) by token: exp(d) − d − 1 with d = log π_start − log π.

    Source: http://joschu.net/blog/kl-approx.html; arXiv 2402.03300, Eq. 4; deviations: none.
    """
    assert inputs.reference_logprobs_N is not None
    difference_N = inputs.reference_logprobs_N - inputs.logprobs_N
    return torch.exp(difference_N) - difference_N - 1


def row_weights(samples: Sequence[Sample], mean: Literal["token", "episode"]) -> list[float]:
    """Weight of each token of a row, such that the weighted sum over a whole optimiser batch is the mean.

    `token` counts every sampled token alike, `episode` every episode alike. Because the weights come from the whole
    batch, the loss does not depend on how it is split into micro-batches.
    """
    if mean == "token":
        total = sum(sample.loss_tokens for sample in samples)
        return [1.0 / max(total, 1)] * len(samples)
    keys = episode_keys(samples)
    tokens: Counter[tuple[int | None, int]] = Counter()
    for key, sample in zip(keys, samples, strict=True):
        tokens[key] += sample.loss_tokens
    count = sum(1 for found in tokens.values() if found)
    return [1.0 / (count * tokens[key]) if tokens[key] else 0.0 for key in keys]


RED_RANGE, RED_WIDTH = (0.8, 100.0), 0.05


def red_weights(advantages: Sequence[float], tokens: Sequence[int]) -> list[float]:
    """Rescale advantages when their token-weighted sum is negative: A → A·exp(A/T).

    T is the last midpoint of a bisection of [0.8, 100] that ends when the bracket is narrower than 0.05; there the sum
    is about 0. Where even T = 0.8 leaves it negative, T is 0.848, the last midpoint above that end. A batch with a sum
    of at least 0 is left alone.

    Source: arXiv 2606.20002 ("RED"); trinity/algorithm/advantage_fn/cod_advantage.py of agentscope-ai/Trinity-RFT at
    139d1c43 (`red_weight_adaptive_version: bisection`); deviations: none.
    """

    def weighted_sum(temperature: float) -> float:
        return sum(n * a * math.exp(a / temperature) for a, n in zip(advantages, tokens, strict=True))

    if sum(n * a for a, n in zip(advantages, tokens, strict=True)) >= 0:
        return list(advantages)
    low, high = RED_RANGE
    while high - low >= RED_WIDTH:
        temperature = (low + high) / 2
        if weighted_sum(temperature) >= 0:
            low = temperature  # boosted too much: a higher temperature does less
        else:
            high = temperature
    return [a * math.exp(a / temperature) for a in advantages]
