"""The learner: the loss does not depend on how rows are split, padded or ordered; parity with TRL's loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from codctl.config.registries import LOSSES
from codctl.config.schema import LossConfig, TrainConfig
from codctl.errors import StageError
from codctl.learner.batching import Sample
from codctl.learner.learner import Learner
from codctl.models.load import load_model
from tests.learner.samples import on_policy, random_samples
from tests.learner.test_losses import loss_inputs

Mean = Literal["token", "episode"]


def new_learner(
    model: Any, temperature: float = 1.0, budget: int = 8192, processes: int = 1, **settings: Any
) -> Learner:
    loss = LossConfig(**settings.pop("loss", {"red": False}))
    config = TrainConfig(micro_batch_tokens=budget, loss=loss, **{"lr": 1e-4, **settings})
    return Learner(model, config, pad_id=0, temperature=temperature, seed=0, processes=processes)


def weights_of(model: Any) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def largest_difference(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    return max(float((a[name] - b[name]).abs().max()) for name in a)


def learn_once(folder: Path, samples: Sequence[Sample], **settings: Any) -> tuple[dict[str, float], Any]:
    model = load_model(folder, "float32", "cpu")
    return new_learner(model, **settings).learn(samples, 1), model


def gradients(learner: Learner, model: Any, samples: Sequence[Sample]) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradients of one optimiser batch, without the step."""
    found: dict[str, torch.Tensor] = {}
    learner.optimizer.step = lambda: found.update({n: p.grad.clone() for n, p in model.named_parameters()})
    return learner.learn(samples, 1)["loss"], found


@pytest.mark.parametrize("mean", ["token", "episode"])
@pytest.mark.parametrize("kind", ["rec", "grpo", "gspo", "cispo"])
def test_the_split_into_micro_batches_changes_nothing(tiny_folder: Path, model: Any, kind: str, mean: Mean) -> None:
    samples = on_policy(model, random_samples(40), noise=0.3)
    # A small step: where a gradient is almost zero, Adam turns its rounding into a step of up to the learning rate.
    settings = {"lr": 1e-5, "loss": {"kind": kind, "red": True, "mean": mean}}
    whole, one = learn_once(tiny_folder, samples, budget=8192, **settings)
    for budget in (64, 512):
        split, other = learn_once(tiny_folder, samples, budget=budget, **settings)
        assert split["tokens/forwarded"] < whole["tokens/forwarded"]
        for name in ("loss", "grad_norm", "entropy", "logprob_gap/mean", "logprob_gap/max", "logprob_gap/k3"):
            assert split[name] == pytest.approx(whole[name], rel=1e-5, abs=1e-6)
        assert largest_difference(weights_of(one), weights_of(other)) < 1e-6


@pytest.mark.parametrize("steps", [1, 2])
def test_several_processes_learn_what_one_does(tiny_folder: Path, model: Any, steps: int) -> None:
    samples = on_policy(model, random_samples(40), noise=0.3)
    settings = {"lr": 1e-5, "loss": {"kind": "grpo", "red": True, "kl": 0.1}, "budget": 128, "optimizer_steps": steps}
    alone, one = learn_once(tiny_folder, samples, **settings)
    for processes in (2, 3):
        several, other = learn_once(tiny_folder, samples, processes=processes, **settings)
        again, same = learn_once(tiny_folder, samples, processes=processes, **settings)
        assert several == again
        assert largest_difference(weights_of(other), weights_of(same)) == 0
        assert several.keys() == alone.keys()
        for name in alone.keys() - {"tokens/forwarded", "tokens/useful_fraction"}:
            assert several[name] == pytest.approx(alone[name], rel=1e-5, abs=1e-6), name
        assert largest_difference(weights_of(one), weights_of(other)) < 1e-6


def test_all_rows_are_told_of_wherever_they_are_learned(model: Any) -> None:
    samples, told = random_samples(20), list[float]()
    learner = new_learner(model, budget=128, processes=2)
    learner.learn(samples, 1, after=lambda rows: told.extend(row.advantage for row in rows))
    assert sorted(told) == sorted(sample.advantage for sample in samples if sample.loss_tokens)


def rows_by_turn(samples: Sequence[Sample]) -> list[Sample]:
    """Each turn as a row of its own that repeats all before it, as where each prompt is rendered anew."""
    found = []
    for number, one in enumerate(samples):
        ends = [i + 1 for i, (now, after) in enumerate(pairwise([*one.loss_mask, 0])) if now and not after]
        for begin, end in pairwise([0, *ends]):
            mask = [0] * begin + one.loss_mask[begin:end].tolist()
            found.append(Sample(one.ids[:end], mask, one.logprobs[:end], one.advantage, number))
    return found


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("mean", ["token", "episode"])
def test_a_row_for_each_turn_learns_what_one_row_does(tiny_folder: Path, model: Any, mean: Mean, steps: int) -> None:
    samples = on_policy(model, random_samples(24), noise=0.3)
    assert len(rows_by_turn(samples)) > 1.5 * len(samples)
    settings = {"lr": 1e-5, "optimizer_steps": steps, "loss": {"red": True, "mean": mean}}
    whole, one = learn_once(tiny_folder, samples, **settings)
    turns, other = learn_once(tiny_folder, rows_by_turn(samples), **settings)
    for name in ("loss", "grad_norm", "entropy", "logprob_gap/mean"):
        assert turns[name] == pytest.approx(whole[name], rel=1e-4, abs=1e-6)
    assert largest_difference(weights_of(one), weights_of(other)) < 2e-6


def test_the_order_of_the_rows_changes_nothing(tiny_folder: Path, model: Any) -> None:
    samples = on_policy(model, random_samples(30), noise=0.3)
    first, one = learn_once(tiny_folder, samples)
    second, other = learn_once(tiny_folder, samples[::-1])
    assert first["loss"] == pytest.approx(second["loss"], abs=1e-6)
    assert largest_difference(weights_of(one), weights_of(other)) < 1e-6


@pytest.mark.parametrize("mean", ["token", "episode"])
@pytest.mark.parametrize("kind", ["rec", "grpo", "gspo", "cispo"])
def test_the_loss_is_the_mean_that_its_name_says(model: Any, kind: str, mean: Mean) -> None:
    """Row by row, without batches or padding."""
    samples = on_policy(model, random_samples(10), noise=0.3)
    sums, counts = [], []
    for s in samples:
        with torch.no_grad():
            logprobs = torch.log_softmax(
                model(input_ids=torch.tensor(s.ids.tolist())[None]).logits[0].float() / 0.7, -1
            )
        own = torch.tensor([float(logprobs[t - 1, s.ids[t]]) for t in range(len(s.ids)) if s.loss_mask[t]])
        old = torch.tensor([p for p, m in zip(s.logprobs, s.loss_mask, strict=True) if m])
        sums.append(float(LOSSES.get(kind)(loss_inputs(own, old, s.advantage)).sum()))
        counts.append(s.loss_tokens)
    expected = (
        sum(sums) / sum(counts) if mean == "token" else sum(a / n for a, n in zip(sums, counts, strict=True)) / 10
    )
    learner = new_learner(model, temperature=0.7, loss={"kind": kind, "red": False, "mean": mean})
    assert learner.learn(samples, 1)["loss"] == pytest.approx(expected, rel=1e-4)


def test_red_is_applied_over_the_whole_batch(tiny_folder: Path, model: Any) -> None:
    from codctl.learner.losses import red_weights

    samples = [replace(s, advantage=s.advantage - 0.2) for s in on_policy(model, random_samples(20))]
    scaled = red_weights([s.advantage for s in samples], [s.loss_tokens for s in samples])
    by_hand = [replace(s, advantage=a) for s, a in zip(samples, scaled, strict=True)]
    assert scaled != [s.advantage for s in samples]
    with_red, _ = learn_once(tiny_folder, samples, loss={"red": True})
    without, _ = learn_once(tiny_folder, by_hand, loss={"red": False})
    assert with_red["loss"] == pytest.approx(without["loss"], abs=1e-6)


def test_on_policy_rows_have_no_gap(model: Any) -> None:
    metrics = new_learner(model).learn(on_policy(model, random_samples(10)), 1)
    assert metrics["logprob_gap/max"] < 1e-4
    assert metrics["logprob_gap/k3"] == pytest.approx(0, abs=1e-6)


def test_nothing_to_learn_leaves_the_weights_alone(model: Any) -> None:
    before = weights_of(model)
    silent = [replace(s, advantage=0.0) for s in random_samples(5)]
    unsampled = Sample([1, 2, 3], [0, 0, 0], [0.0] * 3, 1.0)
    learner = new_learner(model)
    assert learner.learn([*silent, unsampled], 1)["tokens/forwarded"] == 0
    assert learner.learn([], 2)["loss"] == 0
    assert largest_difference(before, weights_of(model)) == 0


def test_optimiser_steps_do_not_depend_on_the_number_of_rows(model: Any) -> None:
    for rows in (1, 5, 40):
        learner, steps = new_learner(model, optimizer_steps=3), [0]
        plain = learner.optimizer.step

        def step(plain: Callable[[], Any] = plain, steps: list[int] = steps) -> None:
            steps[0] += 1
            plain()

        learner.optimizer.step = step
        learner.learn(on_policy(model, random_samples(rows)), 1)
        assert steps[0] == min(3, rows)


def test_a_kl_penalty_holds_the_model_at_its_start(tiny_folder: Path) -> None:
    """Nothing is rewarded: without the penalty nothing moves, with it the model comes back."""
    model = load_model(tiny_folder, "float32", "cpu")
    samples = [replace(s, advantage=0.0) for s in random_samples(12)]
    free, held = new_learner(model), new_learner(model, lr=1e-3, loss={"kl": 1.0})
    start = weights_of(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    moved = weights_of(model)
    assert "kl/start" not in free.learn(samples, 1)
    assert largest_difference(moved, weights_of(model)) == 0
    distances = [held.learn(samples, step)["kl/start"] for step in range(1, 9)]
    assert 0 < distances[-1] < distances[0] / 2
    assert largest_difference(start, moved) > 0.01


def test_the_reference_is_the_start_model_to_the_bit(tiny_folder: Path) -> None:
    model = load_model(tiny_folder, "float32", "cpu")
    learner = new_learner(model, lr=1e-2, loss={"kl": 0.1})
    samples = random_samples(12)
    before = learner.score(samples)
    assert learner.learn(samples, 1)["kl/start"] == pytest.approx(0, abs=1e-6)
    trained = weights_of(model)
    reference = learner._reference([replace(s, index=i) for i, s in enumerate(samples)])
    assert reference is not None
    assert all((own == other).all() for own, other in zip(before, reference, strict=True))
    assert any((own != other).any() for own, other in zip(before, learner.score(samples), strict=True))
    assert largest_difference(trained, weights_of(model)) == 0


def test_the_learning_rate_follows_rollout_steps(model: Any) -> None:
    learner = new_learner(model, lr=1e-4, lr_schedule="linear", steps=4, optimizer_steps=2)
    samples = on_policy(model, random_samples(4))
    rates = [learner.learn(samples, step)["lr"] for step in range(1, 5)]
    assert rates == pytest.approx([1e-4, 0.75e-4, 0.5e-4, 0.25e-4])


def test_learning_makes_good_rows_likelier(model: Any) -> None:
    samples = on_policy(model, random_samples(8))
    learner = new_learner(model, lr=1e-3)
    for step in range(1, 6):
        learner.learn(samples, step)
    after = on_policy(model, samples)
    moved = [(new.logprobs.sum() - old.logprobs.sum()) * old.advantage for old, new in zip(samples, after, strict=True)]
    assert sum(moved) > 0


def test_a_gradient_that_is_not_finite_stops_before_the_weights_change(model: Any) -> None:
    samples = on_policy(model, random_samples(10))
    broken = [replace(sample, advantage=float("inf")) for sample in samples]
    before = weights_of(model)
    with pytest.raises(StageError, match="not finite"):
        new_learner(model).learn(broken, 1)
    assert largest_difference(before, weights_of(model)) == 0
