"""Packed rows: whole episodes behind one another, none of which sees its neighbours."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from transformers.integrations import sdpa_attention

from codctl.cod.engine import RequestTag, Sampling
from codctl.config.schema import BuildConfig, LoraConfig
from codctl.engines.transformers_engine import TransformersEngine
from codctl.errors import PreflightError
from codctl.learner.batching import Sample
from codctl.learner.token_logprobs import TokenLogprobs, collate
from codctl.models import attention
from codctl.models.attention import EAGER, VARLEN, attention_of, is_packed
from codctl.models.build import build_model
from codctl.models.load import add_lora, load_model, use_attention
from tests.learner.samples import random_samples

PROMPTS = [[5, 9, 30, 41], [7, 8], [5, 9, 30, 41, 50, 60, 61], list(range(10, 30))]


def gradients(model: Any, samples: list[Sample]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Log-probs in the order of the samples, and the gradients of their weighted sum."""
    reader = TokenLogprobs(model, 0.8)
    rows = collate(samples, [1.0] * len(samples), 0, "cpu", packed=reader.packed)
    logprobs_N, entropies_N, _ = reader(rows)
    (logprobs_N * rows.advantages_BT[rows.loss_mask_BT] - 0 * entropies_N).sum().backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return logprobs_N.detach(), found


def assert_close(a: Any, b: Any) -> None:
    assert torch.allclose(a[0], b[0], atol=1e-6)
    assert set(a[1]) == set(b[1])
    for name, gradient in a[1].items():
        assert torch.allclose(gradient, b[1][name], atol=1e-6 * max(1.0, float(gradient.abs().max()))), name


@pytest.mark.parametrize("lora", [False, True])
def test_packed_rows_give_the_log_probs_and_gradients_of_padded_ones(tiny_folder: Path, lora: bool) -> None:
    model = load_model(tiny_folder, "float32", "cpu")
    if lora:
        model = add_lora(model, LoraConfig(rank=4), 0)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter.data, std=0.1)
    samples = random_samples(25)
    assert not is_packed(model)
    padded = gradients(model, samples)
    use_attention(model, "varlen")
    assert is_packed(model)
    assert_close(gradients(model, samples), padded)


def test_an_episode_does_not_see_its_neighbours(model: Any) -> None:
    use_attention(model, "varlen")
    samples = random_samples(6)
    alone, _ = gradients(model, samples[3:4])
    among, _ = gradients(model, samples)
    before = sum(s.loss_tokens for s in samples[:3])
    assert torch.allclose(among[before : before + len(alone)], alone, atol=1e-6)


def test_no_mask_of_all_tokens_by_all_tokens(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    use_attention(model, "varlen")
    seen: list[Any] = []
    plain = attention.varlen_attention

    def watched(*arguments: Any, **named: Any) -> Any:
        seen.append((arguments[4], named["cu_seq_lens_q"].tolist(), named["max_length_q"]))
        return plain(*arguments, **named)

    monkeypatch.setattr(attention, "varlen_attention", watched)
    attention.register()
    gradients(model, [Sample([1] * n, [0] * (n - 1) + [1], [0.0] * n, 1.0) for n in (3, 5)])
    monkeypatch.undo()
    attention.register()
    assert seen == [(None, [0, 3, 8], 5)] * model.config.num_hidden_layers


def test_the_attention_is_not_written_into_the_model_folder(model: Any, tmp_path: Path) -> None:
    use_attention(model, "varlen")
    model.save_pretrained(tmp_path)
    assert "varlen" not in (tmp_path / "config.json").read_text()
    assert not json.loads((tmp_path / "config.json").read_text()).get("_attn_implementation")


def test_calls_that_are_not_packed_are_as_with_sdpa(tiny_folder: Path, model: Any) -> None:
    other = load_model(tiny_folder, "float32", "cpu")
    use_attention(other, "varlen")
    ids = torch.tensor([[0, 0, 40, 41, 42], [3, 40, 41, 42, 50]])
    left = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    for named in ({}, {"attention_mask": left}, {"attention_mask": left.flip(1)}):
        with torch.no_grad():
            assert torch.equal(other(input_ids=ids, **named).logits, model(input_ids=ids, **named).logits)


def test_eager_attention_looks_where_sdpa_looks(tiny_folder: Path, model: Any) -> None:
    other = load_model(tiny_folder, "float32", "cpu")
    use_attention(other, "eager")
    ids = torch.tensor([[0, 0, 40, 41, 42], [3, 40, 41, 42, 50]])
    left = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    for mask in (torch.ones_like(left), left, left.flip(1)):
        with torch.no_grad():
            found = other(input_ids=ids, attention_mask=mask).logits[mask.bool()]
            assert torch.allclose(found, model(input_ids=ids, attention_mask=mask).logits[mask.bool()], atol=1e-5)


def test_eager_attention_samples_and_learns_as_sdpa_does(tiny_folder: Path, model: Any) -> None:
    other = load_model(tiny_folder, "float32", "cpu")
    use_attention(other, "eager")
    mine, theirs = asyncio.run(replies(other)), asyncio.run(replies(model))
    assert [sample.ids.tolist() for sample in mine] == [sample.ids.tolist() for sample in theirs]
    assert_close(gradients(other, mine), gradients(model, mine))


def test_long_rows_are_learned_from_with_sdpa(tiny_folder: Path, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "EAGER_LONGEST", 4)
    other = load_model(tiny_folder, "float32", "cpu")
    use_attention(other, "eager")
    samples, calls = random_samples(6), list[Any]()
    wanted, real = gradients(model, samples), sdpa_attention.sdpa_attention_forward

    def sdpa(*asked: Any, **named: Any) -> Any:
        calls.append(asked)
        return real(*asked, **named)

    monkeypatch.setattr(sdpa_attention, "sdpa_attention_forward", sdpa)
    assert_close(gradients(other, samples), wanted)
    assert len(calls) == len(other.model.layers)


def test_sampling_and_training_agree_on_the_same_model(model: Any) -> None:
    """Engine and learner take turns with one model object; what was sampled is scored as it was sampled."""
    use_attention(model, "varlen")
    reader = TokenLogprobs(model, 1.0)
    for _ in range(2):
        samples = asyncio.run(replies(model))
        rows = collate(samples, [1.0] * len(samples), 0, "cpu", packed=True)
        model.train()
        logprobs_N, *_ = reader(rows)
        model.eval()
        assert float((logprobs_N.detach() - rows.old_logprobs_BT[rows.loss_mask_BT]).abs().max()) < 1e-5
        logprobs_N.sum().backward()


async def replies(model: Any, engine: TransformersEngine | None = None) -> list[Sample]:
    engine = engine or TransformersEngine(model, pad_id=0, max_tokens=128)
    sampling = Sampling(temperature=1.0, max_new_tokens=12, stop_ids=(1,))
    found = []
    for _ in PROMPTS:
        engine.open_session()
    generations = [
        engine.generate(p, sampling, seed=i, tag=RequestTag("p", i, 0, 0, "solve")) for i, p in enumerate(PROMPTS)
    ]
    for prompt, reply in zip(PROMPTS, await asyncio.gather(*generations), strict=True):
        mask = [0] * len(prompt) + [1] * len(reply.token_ids)
        found.append(Sample([*prompt, *reply.token_ids], mask, [0.0] * len(prompt) + list(reply.logprobs), 1.0))
    return found


def test_auto_packs_where_there_is_a_kernel() -> None:
    assert attention_of("auto", "cpu", "float32") == "sdpa"
    assert attention_of("auto", "cpu", "bfloat16") == EAGER
    assert attention_of("auto", "cuda", "bfloat16") == VARLEN
    assert attention_of("auto", "cuda", "float32") == "sdpa"
    assert [attention_of(name, "cuda") for name in ("varlen", "sdpa", "eager")] == [VARLEN, "sdpa", EAGER]


def test_flash_attention_is_refused_on_a_cpu() -> None:
    with pytest.raises(PreflightError, match="runs on GPUs, the model is on the cpu") as caught:
        attention_of("flash_attention_2", "cpu")
    assert caught.value.where == "model.attention"
    assert "model.attention=sdpa" in caught.value.hint


def test_flash_attention_is_refused_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PreflightError, match="needs the package flash-attn") as caught:
        attention_of("flash_attention_2", "cuda")
    assert "model.attention=varlen" in caught.value.hint


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_kernel_of_the_gpu_agrees_with_the_loop() -> None:
    """bf16, grouped heads, lengths of one token and of many."""
    starts = torch.tensor([0, 1, 130, 300], dtype=torch.int32, device="cuda")
    states = [torch.randn(1, heads, 300, 64, device="cuda", dtype=torch.bfloat16) for heads in (4, 2, 2)]
    inputs = [state.transpose(1, 2)[0].requires_grad_() for state in states]
    fast = attention._flash(*inputs, starts, 170, None)
    slow = attention._one_by_one(*inputs, starts, None)
    torch.testing.assert_close(fast, slow, atol=2e-2, rtol=2e-2)
    for one, other in zip(*(torch.autograd.grad(out.square().sum(), inputs) for out in (fast, slow)), strict=True):
        torch.testing.assert_close(one, other, atol=1e-1, rtol=5e-2)


@pytest.mark.parametrize("tied", [False, True])
def test_random_rows_of_any_length(tokenizer: Any, tied: bool) -> None:
    build = BuildConfig(layers=2, width=16, heads=4, kv_heads=2, head_dim=8, ffn=16, tie_embeddings=tied)
    model = build_model(build, len(tokenizer), tokenizer, seed=1)
    rng = Random(0)
    samples = []
    for length in (2, 2, 100, 3, 57):
        ids, mask = [rng.randrange(300) for _ in range(length)], [0, *(rng.randrange(2) for _ in range(length - 1))]
        samples.append(Sample(ids, mask, [0.0] * length, rng.uniform(-1, 1)))
    padded = gradients(model, samples)
    use_attention(model, "varlen")
    assert_close(gradients(model, samples), padded)
