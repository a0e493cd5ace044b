"""Log-probs in chunks: the numbers of one piece, with the memory of a chunk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from codctl.config.schema import BuildConfig, LoraConfig
from codctl.learner.batching import Sample
from codctl.learner.token_logprobs import TokenLogprobs, collate
from codctl.models.build import build_model
from codctl.models.load import add_lora, use_attention
from tests.learner.memory import peak_memory
from tests.learner.samples import random_samples

BUILD = {"layers": 2, "width": 16, "heads": 2, "kv_heads": 1, "head_dim": 8, "ffn": 16}


def read(model: Any, chunk: int, autocast: torch.dtype | None = None) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Log-probs and entropies; gradients of a weighted sum of the log-probs."""
    reader = TokenLogprobs(model, 0.7, chunk=chunk, autocast=autocast)
    rows = collate(random_samples(20), [1.0] * 20, 0, "cpu", packed=reader.packed)
    logprobs_N, entropies_N, _ = reader(rows)
    assert len(logprobs_N) > 100
    assert not entropies_N.requires_grad
    (logprobs_N * rows.advantages_BT[rows.loss_mask_BT]).sum().backward()
    found = [p.grad for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    return [logprobs_N.detach(), entropies_N], found


def difference(a: list[torch.Tensor], b: list[torch.Tensor]) -> float:
    return max(float((x - y).abs().max() / max(1.0, float(x.abs().max()))) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", ["tied", "untied", "lora"])
def test_chunks_change_nothing(tokenizer: Any, kind: str, packed: bool) -> None:
    """But for the rounding of float32, whose sums have another order."""
    model: Any = build_model(BuildConfig(**BUILD, tie_embeddings=kind == "tied"), len(tokenizer), tokenizer, seed=1)
    if kind == "lora":
        model = add_lora(model, LoraConfig(rank=4), 0)
    use_attention(model, "varlen" if packed else "sdpa")
    whole, whole_gradients = read(model, 10_000)
    for chunk in (1_000, 64, 7):
        parts, gradients = read(model, chunk)
        assert difference(parts, whole) < 1e-5
        assert len(gradients) == len(whole_gradients)
        assert difference(gradients, whole_gradients) < 1e-5


def test_chunks_change_nothing_in_bf16(tokenizer: Any) -> None:
    """Weights in float32, arithmetic in bf16: each token's numbers are the same, only sums over chunks are rounded."""
    model = build_model(BuildConfig(**BUILD), len(tokenizer), tokenizer, seed=1)
    whole, whole_gradients = read(model, 10_000, torch.bfloat16)
    parts, gradients = read(model, 16, torch.bfloat16)
    assert all(gradient.dtype == torch.float32 for gradient in gradients)
    assert difference(parts, whole) < 1e-6
    assert difference(gradients, whole_gradients) < 2e-2
    exact, exact_gradients = read(model, 10_000)
    assert 1e-5 < difference(exact, whole) < 5e-2
    assert difference(exact_gradients, gradients) < 5e-2


@pytest.mark.parametrize("packed", [False, True])
def test_no_rows_at_all_have_a_gradient_of_zero(model: Any, packed: bool) -> None:
    """What a process computes that has to keep step with others."""
    use_attention(model, "varlen" if packed else "sdpa")
    logprobs_N, entropies_N, _ = TokenLogprobs(model, 1.0)(collate([], [], 0, "cpu", packed=packed))
    assert logprobs_N.shape == entropies_N.shape == (0,)
    logprobs_N.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters())


def wide_model(vocabulary: int) -> Any:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "head_dim": 8}
    return Qwen3ForCausalLM(Qwen3Config(vocab_size=vocabulary, num_key_value_heads=1, pad_token_id=0, **sizes))


@pytest.mark.parametrize("packed", [False, True])
def test_memory_grows_with_the_chunk_and_not_with_the_batch(tmp_path: Path, packed: bool) -> None:
    """At Qwen3's vocabulary; forward and backward, in units of one chunk's logits in float32."""
    vocabulary, chunk = 151_936, 16
    model = wide_model(vocabulary)
    use_attention(model, "varlen" if packed else "sdpa")

    def peak(tokens: int, chunk: int) -> float:
        ids = [1] * (tokens + 1)
        rows = collate([Sample(ids, [0] + [1] * tokens, [0.0] * len(ids), 1.0)], [1.0], 0, "cpu", packed=packed)
        with peak_memory(tmp_path / "trace.json") as peak_bytes:
            TokenLogprobs(model, 1.0, chunk=chunk)(rows)[0].sum().backward()
        return peak_bytes[0] / (16 * vocabulary * 4)

    peak(1, 1)  # gradients of the weights stay
    one = peak(chunk, chunk)
    assert one < 4
    assert peak(4 * chunk, chunk) < one + 0.75  # four times the tokens; half a unit is the head's gradient, adding up
    assert peak(4 * chunk, 10_000) > 3.5 * one
    assert peak(4 * chunk, 3 * chunk) > 2.5 * one
