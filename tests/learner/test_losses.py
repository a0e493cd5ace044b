"""Losses per token, RED weights and normalisation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codctl.config.registries import LOSSES
from codctl.config.schema import LossConfig
from codctl.learner.batching import Sample
from codctl.learner.losses import RED_RANGE, LossInputs, kl_penalty, kl_to_start, red_weights, row_weights

OLD = torch.log(torch.tensor([0.5, 0.5, 0.5, 0.5, 0.5, 0.5]))
NEW = torch.log(torch.tensor([0.5, 0.59, 0.61, 0.5, 0.41, 0.39]))  # ratios 1, 1.18, 1.22, 1, 0.82, 0.78
UP, DOWN = torch.full((6,), 2.0), torch.full((6,), -2.0)


def loss_inputs(
    logprobs: torch.Tensor,
    old: torch.Tensor,
    advantages: torch.Tensor | float,
    lengths: Sequence[int] | None = None,
    reference: torch.Tensor | None = None,
    **settings: Any,
) -> LossInputs:
    """Tokens of rows of these lengths; by default of one row."""
    lengths_R = torch.tensor(lengths or [len(logprobs)])
    return LossInputs(
        logprobs_N=logprobs,
        sampler_logprobs_N=old,
        reference_logprobs_N=reference,
        advantages_N=torch.as_tensor(advantages).expand(len(logprobs)),
        row_N=torch.repeat_interleave(lengths_R),
        lengths_R=lengths_R,
        settings=LossConfig(**settings),
    )


def losses(kind: str, advantages: torch.Tensor, new: torch.Tensor = NEW, **more: Any) -> list[float]:
    found: list[float] = LOSSES.get(kind)(loss_inputs(new, OLD, advantages, **more)).tolist()
    return found


def test_rec_by_hand() -> None:
    minus_log = [-math.log(p) for p in (0.5, 0.59, 0.61, 0.5, 0.41, 0.39)]
    assert losses("rec", UP) == pytest.approx([2 * x for x in minus_log[:2]] + [0.0] + [2 * x for x in minus_log[3:]])
    assert losses("rec", DOWN) == pytest.approx([-2 * x for x in minus_log[:5]] + [0.0])


def test_grpo_by_hand() -> None:
    assert losses("grpo", UP) == pytest.approx([-2, -2.36, -2.4, -2, -1.64, -1.56])
    assert losses("grpo", DOWN) == pytest.approx([2, 2.36, 2.44, 2, 1.64, 1.6])
    assert losses("grpo", UP, clip_high=0.25)[2] == pytest.approx(-2.44)  # above 1.2, not above 1.25


def test_gspo_by_hand() -> None:
    """Two rows of three tokens: the geometric means of their ratios are (1·1.18·1.22)^⅓ and (1·0.82·0.78)^⅓."""
    first, second = (1.18 * 1.22) ** (1 / 3), (0.82 * 0.78) ** (1 / 3)
    assert 1.1 < first < 1.2
    assert 0.8 < second < 0.9
    up = losses("gspo", UP, lengths=[3, 3], clip=0.1)
    assert up == pytest.approx([-2 * 1.1] * 3 + [-2 * second] * 3)
    down = losses("gspo", DOWN, lengths=[3, 3], clip=0.1)
    assert down == pytest.approx([2 * first] * 3 + [2 * 0.9] * 3)
    assert losses("gspo", UP, lengths=[3, 3], clip=0.1, clip_high=0.5)[0] == pytest.approx(-2 * first)


def test_cispo_by_hand() -> None:
    """The weight is the ratio, 1.2 at most, and has no gradient of its own."""
    logs = [math.log(p) for p in (0.5, 0.59, 0.61, 0.5, 0.41, 0.39)]
    weights = [1, 1.18, 1.2, 1, 0.82, 0.78]
    assert losses("cispo", UP) == pytest.approx([-2 * w * x for w, x in zip(weights, logs, strict=True)])
    assert losses("cispo", DOWN) == pytest.approx([2 * w * x for w, x in zip(weights, logs, strict=True)])


def test_the_kl_penalty_by_hand() -> None:
    """k3 of a token that the start model gives 0.5 and the learner p: 0.5/p − log(0.5/p) − 1."""
    found = kl_to_start(loss_inputs(NEW, OLD, UP, reference=OLD))
    ratios = [0.5 / p for p in (0.5, 0.59, 0.61, 0.5, 0.41, 0.39)]
    assert found.tolist() == pytest.approx([r - math.log(r) - 1 for r in ratios], abs=1e-6)
    assert found.min() >= 0
    weighted = kl_penalty(loss_inputs(NEW, OLD, UP, reference=OLD))
    assert weighted.tolist() == pytest.approx([k / r for k, r in zip(found.tolist(), ratios, strict=True)])


def gradient(kind: str, advantages: torch.Tensor, **more: Any) -> list[float]:
    logprobs = NEW.clone().requires_grad_()
    LOSSES.get(kind)(loss_inputs(logprobs, OLD, advantages, **more)).sum().backward()
    assert logprobs.grad is not None
    return logprobs.grad.tolist()


def test_gradients() -> None:
    """`rec` pulls every token inside its bound alike, `grpo` in proportion to its ratio, `cispo` those outside too."""
    assert gradient("rec", UP) == pytest.approx([-2, -2, 0, -2, -2, -2])
    assert gradient("rec", DOWN) == pytest.approx([2, 2, 2, 2, 2, 0])
    assert gradient("grpo", UP) == pytest.approx([-2, -2.36, 0, -2, -1.64, -1.56])
    assert gradient("grpo", DOWN) == pytest.approx([2, 2.36, 2.44, 2, 1.64, 0])
    assert gradient("cispo", UP) == pytest.approx([-2, -2.36, -2.4, -2, -1.64, -1.56])
    second = (0.82 * 0.78) ** (1 / 3)
    assert gradient("gspo", UP, lengths=[3, 3], clip=0.1) == pytest.approx([0] * 3 + [-2 * second] * 3)


@pytest.mark.parametrize("kind", ["rec", "grpo", "gspo", "cispo"])
def test_no_advantage_no_gradient(kind: str) -> None:
    assert not any(gradient(kind, torch.zeros(6)))


# --- RED --------------------------------------------------------------------------------------------------------------


def weighted_sum(advantages: list[float], tokens: list[int]) -> float:
    return sum(a * n for a, n in zip(advantages, tokens, strict=True))


def test_red_balances_a_negative_batch() -> None:
    advantages, tokens = [0.75, -0.25, -0.25, -0.25], [4, 8, 8, 8]
    scaled = red_weights(advantages, tokens)
    assert weighted_sum(advantages, tokens) == -3.0
    assert weighted_sum(scaled, tokens) == pytest.approx(0, abs=0.15)
    # Hand check: 3·x³ = 6·(1/x)... with x = exp(0.25/T): 3·e^(0.75/T) = 6·e^(-0.25/T), so T = 1/ln 2.
    temperature = 1 / math.log(2)
    assert scaled == pytest.approx([a * math.exp(a / temperature) for a in advantages], rel=0.02)


def test_red_leaves_a_batch_alone_whose_sum_is_not_negative() -> None:
    assert red_weights([0.5, -0.5], [3, 3]) == [0.5, -0.5]
    assert red_weights([0.5, -0.1], [3, 3]) == [0.5, -0.1]
    assert red_weights([], []) == []


def test_the_temperature_is_the_last_midpoint() -> None:
    """Eleven halvings of [0.8, 100] end 0.048 wide; the published code then takes the midpoint that it tried last."""
    step = (RED_RANGE[1] - RED_RANGE[0]) / 2**11
    hopeless = red_weights([-0.5], [5])
    assert -0.5 / math.log(hopeless[0] / -0.5) == pytest.approx(RED_RANGE[0] + step)
    scaled = red_weights([0.75, -0.25, -0.25, -0.25], [4, 8, 8, 8])
    halvings = (0.75 / math.log(scaled[0] / 0.75) - RED_RANGE[0]) / step
    assert halvings == pytest.approx(round(halvings), abs=1e-6)
    assert abs(RED_RANGE[0] + halvings * step - 1 / math.log(2)) < step


def test_a_nearly_balanced_batch_is_nearly_left_alone() -> None:
    barely = red_weights([0.5, -0.5], [100_000, 100_001])
    assert barely == pytest.approx([a * math.exp(a / RED_RANGE[1]) for a in (0.5, -0.5)], rel=1e-3)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.floats(-1, 1), st.integers(1, 40)), min_size=1, max_size=40))
def test_red_keeps_signs_and_order_and_stays_in_bounds(rows: list[tuple[float, int]]) -> None:
    advantages, tokens = [a for a, _ in rows], [n for _, n in rows]
    scaled = red_weights(advantages, tokens)
    before, after = weighted_sum(advantages, tokens), weighted_sum(scaled, tokens)
    if before >= 0:
        assert scaled == advantages
        return
    assert after >= before
    for a, b in zip(advantages, scaled, strict=True):
        assert a * b >= 0
        low, high = sorted(a * math.exp(a / t) for t in RED_RANGE)
        assert low - 1e-12 <= b <= high + 1e-12
    # Balanced, unless the hottest temperature is not hot enough; the bracket ends within 0.05 of the root.
    hottest = sum(n * a * math.exp(a / RED_RANGE[0]) for a, n in rows)
    slack = 0.05 * sum(n * a * a * math.exp(a / RED_RANGE[0]) for a, n in rows) / RED_RANGE[0] ** 2
    assert after <= slack + 1e-9
    if hottest > 0:
        assert after >= -slack - 1e-9


# --- normalisation ----------------------------------------------------------------------------------------------------


def sample(loss_tokens: int) -> Sample:
    return Sample([0] * 9, [0] * (9 - loss_tokens) + [1] * loss_tokens, [0.0] * 9, 1.0)


def test_row_weights() -> None:
    rows = [sample(1), sample(3), sample(6)]
    assert row_weights(rows, "token") == pytest.approx([0.1, 0.1, 0.1])
    assert row_weights(rows, "episode") == pytest.approx([1 / 3, 1 / 9, 1 / 18])
    assert row_weights([*rows, sample(0)], "episode") == pytest.approx([1 / 3, 1 / 9, 1 / 18, 0])
    turns = [replace(row, episode=number) for row, number in zip([*rows, sample(2)], (4, 9, 4, 4), strict=True)]
    assert row_weights(turns, "episode") == pytest.approx([1 / 18, 1 / 6, 1 / 18, 1 / 18])  # 9 tokens and 3
    assert row_weights([], "token") == row_weights([], "episode") == []


@pytest.mark.parametrize("mean", ["token", "episode"])
def test_weights_add_up_to_one_over_all_sampled_tokens(mean: str) -> None:
    rng = Random(0)
    rows = [sample(rng.randint(1, 8)) for _ in range(30)]
    weights = row_weights(rows, mean)  # type: ignore[arg-type]
    assert sum(w * row.loss_tokens for w, row in zip(weights, rows, strict=True)) == pytest.approx(1)
