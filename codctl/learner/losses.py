"""Policy losses per token, the RED weights, and their normalisation.

Shapes: B rows, T tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch

from codctl.learner.batching import Sample, by_episode


def token_loss(
    kind: Literal["rec", "grpo"],
    logprobs_BT: torch.Tensor,
    old_logprobs_BT: torch.Tensor,
    advantages_BT: torch.Tensor,
    clip: float,
) -> torch.Tensor:
    """Loss of each token, to be minimised; entries outside the loss mask are meaningless.

    `rec`: −A·log π, counted only while the ratio π/π_old stays on the near side of the bound: at most 1+clip where
    A > 0, at least 1−clip where A < 0. The ratio itself is not multiplied in. `grpo`: the clipped importance-weighted
    surrogate −min(rA, clamp(r, 1−clip, 1+clip)A).

    Source: arXiv 2606.20002, "REC-OneSide-NoIS" and Eq. 1; trinity/algorithm/policy_loss_fn/rec_policy_loss.py of
    agentscope-ai/Trinity-RFT at 1d7fae4a; deviations: no dual clip in `grpo` (Eq. 1 has none, the released PPO loss has
    one at 3).
    """
    ratio_BT = torch.exp(logprobs_BT - old_logprobs_BT)
    if kind == "rec":
        with torch.no_grad():
            inside_BT = torch.where(advantages_BT > 0, ratio_BT <= 1 + clip, ratio_BT >= 1 - clip)
        return -advantages_BT * logprobs_BT * inside_BT
    clipped_BT = ratio_BT.clamp(1 - clip, 1 + clip)
    return -torch.minimum(ratio_BT * advantages_BT, clipped_BT * advantages_BT)


def row_weights(samples: Sequence[Sample], mean: Literal["token", "episode"]) -> list[float]:
    """Weight of each token of a row, such that the weighted sum over a whole optimiser batch is the mean.

    `token` counts every sampled token alike, `episode` every episode alike. Because the weights come from the whole
    batch, the loss does not depend on how it is split into micro-batches.
    """
    if mean == "token":
        total = sum(sample.loss_tokens for sample in samples)
        return [1.0 / max(total, 1)] * len(samples)
    episodes = [(rows, sum(row.loss_tokens for row in rows)) for rows in by_episode(samples)]
    count = sum(1 for _, tokens in episodes if tokens)
    weight_of = {id(row): 1.0 / (count * tokens) if tokens else 0.0 for rows, tokens in episodes for row in rows}
    return [weight_of[id(sample)] for sample in samples]


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
