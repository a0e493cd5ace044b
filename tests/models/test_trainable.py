"""The model as the learner holds it: types of weights, same arithmetic on both sides, activation checkpointing."""

from __future__ import annotations

import asyncio
import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from codctl.config.schema import BuildConfig, Config
from codctl.engines.transformers_engine import TransformersEngine
from codctl.learner.batching import Sample
from codctl.learner.token_logprobs import TokenLogprobs, collate
from codctl.models.build import build_model
from codctl.models.load import autocast_type, checkpoint_activations, load_model, load_trainable, use_attention
from tests.learner.memory import peak_memory
from tests.learner.samples import random_samples
from tests.models.test_attention import replies


def recipe(model: dict[str, Any] | None = None, **train: Any) -> Config:
    return Config.model_validate({"model": model or {}, "train": train})


def types_of(model: Any) -> dict[bool, set[torch.dtype]]:
    """Types of what is trained, and of what is not."""
    return {kind: {p.dtype for p in model.parameters() if p.requires_grad == kind} for kind in (True, False)}


def test_what_is_trained_is_kept_in_float32(tiny_folder: Path) -> None:
    full = load_trainable(tiny_folder, recipe({"dtype": "bfloat16"}), "cpu")
    assert types_of(full) == {True: {torch.float32}, False: set()}
    lora = load_trainable(tiny_folder, recipe({"dtype": "bfloat16", "lora": {"rank": 4}}), "cpu")
    assert types_of(lora) == {True: {torch.float32}, False: {torch.bfloat16}}
    assert types_of(load_model(tiny_folder, "bfloat16", "cpu"))[True] == {torch.bfloat16}


def test_in_float32_it_is_the_plain_model(tiny_folder: Path, model: Any) -> None:
    trainable = load_trainable(tiny_folder, recipe(), "cpu")
    assert autocast_type("float32") is None
    for chunk in (10_000, 16):
        rows = collate(random_samples(9), [1.0] * 9, 0, "cpu")
        ours, plain = TokenLogprobs(trainable, 1.0, chunk=chunk)(rows), TokenLogprobs(model, 1.0)(rows)
        assert torch.equal(ours[0], plain[0]) or chunk == 16
        assert torch.allclose(ours[0], plain[0], atol=1e-6)


@pytest.mark.parametrize("lora", [0, 4])
@pytest.mark.parametrize("attention", ["sdpa", "varlen"])
def test_sampling_and_training_agree_in_bf16(tiny_folder: Path, attention: str, lora: int) -> None:
    """Both under autocast. Were the learner's weights rounded, the gap would be several times larger everywhere."""
    config = recipe({"dtype": "bfloat16", "attention": attention, "lora": {"rank": lora}})
    model, autocast = load_trainable(tiny_folder, config, "cpu"), autocast_type("bfloat16")
    engine = TransformersEngine(model, pad_id=0, max_tokens=128, autocast=autocast)
    samples = asyncio.run(replies(model, engine))
    rounded = copy.deepcopy(model).to(torch.bfloat16)
    assert 0 < 2 * mean_gap(model, samples, autocast) < mean_gap(rounded, samples, autocast)


def mean_gap(model: Any, samples: list[Sample], autocast: torch.dtype | None) -> float:
    reader = TokenLogprobs(model, 1.0, autocast=autocast)
    rows = collate(samples, [1.0] * len(samples), 0, "cpu", packed=reader.packed)
    with torch.no_grad():
        logprobs_N, *_ = reader(rows)
    return float((logprobs_N - rows.old_logprobs_BT[rows.loss_mask_BT]).abs().mean())


def deep_model(tokenizer: Any) -> Any:
    build = BuildConfig(layers=4, width=32, heads=2, kv_heads=1, head_dim=16, ffn=512)
    return build_model(build, len(tokenizer), tokenizer, seed=2).train()


def backward(model: Any, samples: list[Sample]) -> tuple[float, dict[str, torch.Tensor]]:
    reader = TokenLogprobs(model, 1.0)
    loss = -reader(collate(samples, [1.0] * len(samples), 0, "cpu", packed=reader.packed))[0].mean()
    loss.backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return float(loss.detach()), found


@pytest.mark.parametrize("attention", ["sdpa", "varlen"])
def test_activation_checkpointing_changes_memory_and_nothing_else(
    tokenizer: Any, tmp_path: Path, attention: str
) -> None:
    model, samples = deep_model(tokenizer), random_samples(24)
    use_attention(model, attention)
    found = []
    for step in ("keep", "again"):
        if step == "again":
            checkpoint_activations(model)
        backward(model, samples)
        with peak_memory(tmp_path / "trace.json") as peak_bytes:
            loss, gradients = backward(model, samples)
        found.append((loss, gradients, peak_bytes[0]))
    (loss, gradients, kept), (again_loss, again, recomputed) = found
    assert loss == again_loss
    assert gradients.keys() == again.keys()
    assert all(torch.equal(gradients[name], again[name]) for name in gradients)
    assert recomputed < kept / 2


def test_activation_checkpointing_of_adapters(tiny_folder: Path) -> None:
    """The base is frozen, and yet every adapter gets its gradient."""
    samples, found = random_samples(10), []
    for again in (False, True):
        config = recipe({"lora": {"rank": 4}}, activation_checkpointing=again)
        model = load_trainable(tiny_folder, config, "cpu").train()
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.constant_(parameter.data, 0.01)
        found.append(backward(model, samples))
    assert found[0][0] == found[1][0]
    assert len(found[0][1]) == len(found[1][1]) == 2 * 2 * 7  # two matrices, two layers, seven linear parts
    assert all(torch.equal(gradient, found[1][1][name]) for name, gradient in found[0][1].items())


def test_an_engine_samples_as_before_from_a_model_that_checkpoints_activations(tiny_folder: Path) -> None:
    plain = asyncio.run(replies(load_trainable(tiny_folder, recipe(), "cpu")))
    model = load_trainable(tiny_folder, recipe({"attention": "varlen"}, activation_checkpointing=True), "cpu")
    backward(model.train(), plain)
    assert asyncio.run(replies(model.eval())) == plain
