"""Our loss against TRL's `GRPOTrainer._compute_loss` on the same tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from codctl.learner.batching import Sample
from tests.learner.samples import on_policy, random_samples
from tests.learner.test_learner import gradients, new_learner

NAMES = {"token": "dapo", "episode": "grpo"}  # what TRL calls the two means


def new_trainer(model: Any, tokenizer: Any, work: Path, loss_type: str, **more: Any) -> Any:
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    settings = {"beta": 0.0, "epsilon": 0.2, **more}
    arguments = GRPOConfig(
        output_dir=str(work),
        loss_type=loss_type,
        temperature=0.8,
        num_generations=2,
        per_device_train_batch_size=2,
        max_completion_length=64,
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        report_to=[],
        **settings,
    )
    rows = Dataset.from_dict({"prompt": ["x", "y"]})
    trainer = GRPOTrainer(
        model=model, reward_funcs=lambda **_: [0.0], args=arguments, train_dataset=rows, processing_class=tokenizer
    )
    trainer.model.eval()
    return trainer


def as_trl(samples: list[Sample], old: bool) -> dict[str, torch.Tensor]:
    """Prompts padded on the left, everything from the first sampled token on padded on the right."""
    splits = [int(s.loss_mask.argmax()) for s in samples]
    width, rest = max(splits), max(len(s.ids) - n for s, n in zip(samples, splits, strict=True))

    def left(rows: list[Sequence[Any]]) -> torch.Tensor:
        return torch.tensor([[0] * (width - len(row)) + list(row) for row in rows])

    def right(rows: list[Sequence[Any]]) -> torch.Tensor:
        return torch.tensor([list(row) + [0] * (rest - len(row)) for row in rows])

    pairs = list(zip(samples, splits, strict=True))
    found = {
        "prompt_ids": left([s.ids[:n] for s, n in pairs]),
        "prompt_mask": left([[1] * n for _, n in pairs]),
        "completion_ids": right([s.ids[n:] for s, n in pairs]),
        "completion_mask": right([[1] * (len(s.ids) - n) for s, n in pairs]),
        "tool_mask": right([s.loss_mask[n:].astype(int) for s, n in pairs]),
        "advantages": torch.tensor([s.advantage for s in samples]),
        "num_items_in_batch": torch.tensor(float(sum(s.loss_tokens for s in samples))),
    }
    if old:
        found["old_per_token_logps"] = right([s.logprobs[n:].tolist() for s, n in pairs])
    return found


def trl_gradients(trainer: Any, model: Any, inputs: dict[str, torch.Tensor]) -> tuple[float, dict[str, torch.Tensor]]:
    loss = trainer._compute_loss(trainer.model, inputs)
    loss.backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    return float(loss.detach()), found


def assert_equal(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert set(ours) == set(theirs)
    largest = max(float(g.abs().max()) for g in theirs.values())
    assert largest > 1e-3
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-4, atol=2e-5 * largest)


@pytest.mark.parametrize("mean", ["token", "episode"])
def test_grpo_equals_trl(model: Any, tokenizer: Any, tmp_path: Path, mean: str) -> None:
    """Off-policy rows, some of them outside the clip: same loss, same gradient."""
    samples = on_policy(model, random_samples(12), noise=0.5)
    trainer = new_trainer(model, tokenizer, tmp_path, NAMES[mean])
    theirs, their_gradients = trl_gradients(trainer, model, as_trl(samples, old=True))
    learner = new_learner(
        model, temperature=0.8, budget=128, grad_clip=1e6, loss={"kind": "grpo", "red": False, "mean": mean}
    )
    ours, our_gradients = gradients(learner, model, samples)
    assert ours == pytest.approx(theirs, rel=1e-4)
    assert_equal(our_gradients, their_gradients)


@pytest.mark.parametrize(
    ("loss", "theirs"),
    [
        ({"kind": "gspo", "mean": "episode"}, {"loss_type": "grpo", "importance_sampling_level": "sequence"}),
        ({"kind": "cispo", "mean": "token"}, {"loss_type": "cispo", "epsilon_high": 1.2}),
    ],
)
def test_gspo_and_cispo_equal_trl(
    model: Any, tokenizer: Any, tmp_path: Path, loss: dict[str, Any], theirs: dict[str, Any]
) -> None:
    samples = on_policy(model, random_samples(12), noise=0.5)
    loss_of, gradients_of = trl_gradients(
        new_trainer(model, tokenizer, tmp_path, **theirs), model, as_trl(samples, old=True)
    )
    learner = new_learner(model, temperature=0.8, budget=128, grad_clip=1e6, loss={"red": False, **loss})
    ours, our_gradients = gradients(learner, model, samples)
    assert ours == pytest.approx(loss_of, rel=1e-4)
    assert_equal(our_gradients, gradients_of)


def test_the_kl_penalty_equals_trl(model: Any, tokenizer: Any, tmp_path: Path) -> None:
    """The model has moved since its start; TRL is told the start model's log-probs."""
    settings = {"kind": "grpo", "red": False, "mean": "token", "kl": 0.3}
    learner = new_learner(model, temperature=0.8, budget=128, grad_clip=1e6, loss=settings)
    drawn = random_samples(12)
    at_start = [replace(s, logprobs=_spread_out(s, own)) for s, own in zip(drawn, learner.score(drawn), strict=True)]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    samples = on_policy(model, drawn, noise=0.5)
    inputs = as_trl(samples, old=True)
    inputs["ref_per_token_logps"] = as_trl(at_start, old=True)["old_per_token_logps"]
    trainer = new_trainer(model, tokenizer, tmp_path, "dapo")
    trainer.beta = 0.3  # as an argument it would make a copy of the model, which nothing here reads
    theirs, their_gradients = trl_gradients(trainer, model, inputs)
    ours, our_gradients = gradients(learner, model, samples)
    assert ours == pytest.approx(theirs, rel=1e-4)
    assert_equal(our_gradients, their_gradients)


def _spread_out(sample: Sample, sampled: Any) -> Any:
    """Log-probs of the sampled tokens, at their places."""
    import numpy as np

    found = np.zeros(len(sample.ids), np.float32)
    found[sample.loss_mask] = sampled
    return found


@pytest.mark.parametrize("mean", ["token", "episode"])
def test_rec_equals_trl_without_its_importance_weight(model: Any, tokenizer: Any, tmp_path: Path, mean: str) -> None:
    """TRL with the ratio fixed at one has the gradient of −A·log π, which is `rec` inside its bound."""
    from math import log

    samples = on_policy(model, random_samples(12))
    trainer = new_trainer(model, tokenizer, tmp_path, NAMES[mean])
    _, theirs = trl_gradients(trainer, model, as_trl(samples, old=False))
    # As if the sampling policy had been a little less sure (A > 0) or more sure (A < 0): inside the bound, no weight.
    shifted = [
        replace(
            s,
            logprobs=[
                m * (p + (log(1.5) if s.advantage > 0 else -log(1.5)))
                for p, m in zip(s.logprobs, s.loss_mask, strict=True)
            ],
        )
        for s in samples
    ]
    for rows in (samples, shifted):
        learner = new_learner(
            model, temperature=0.8, grad_clip=1e6, loss={"kind": "rec", "red": False, "mean": mean, "clip": 0.9}
        )
        _, ours = gradients(learner, model, rows)
        assert_equal(ours, theirs)
        model.zero_grad()
