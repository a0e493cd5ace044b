"""How models of several kinds are read: the engine's log-probs beside those of plain forward passes."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM

from codctl.cod.engine import EngineStats
from codctl.config.schema import LoraConfig
from codctl.engines import fused
from codctl.engines.readers import Fused
from codctl.engines.steps import Steps
from codctl.engines.transformers_engine import TransformersEngine
from codctl.models.load import add_lora
from tests.engines.test_transformers_engine import converse, full_forward, together, tokens_of

SHAPE = {
    "vocab_size": 320, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 128,
}  # fmt: skip
NARROW = 8  # tokens of a sliding window, far fewer than a conversation has
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "Llama": ("fused", {"attention_bias": True}),
    "Qwen3": ("fused", {"head_dim": 16}),
    "Qwen3 with a window": (
        "fused", {"head_dim": 16, "use_sliding_window": True, "sliding_window": NARROW, "max_window_layers": 1}
    ),
    "Qwen2": ("flat", {}),
    "Mistral": ("flat", {"sliding_window": NARROW, "head_dim": 16}),
    "Gemma2": ("flat", {"sliding_window": NARROW, "head_dim": 16, "attn_logit_softcapping": 2.0}),
    "GptOss": ("flat", {"sliding_window": NARROW, "head_dim": 16, "num_local_experts": 2, "num_experts_per_tok": 1}),
    "Bloom": ("whole", {"n_head": 4, "n_layer": 3}),
}  # fmt: skip


def small(name: str) -> Any:
    """A model with weights large enough that each of its peculiarities shows."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{name.partition(' ')[0]}Config")(**SHAPE, **MODELS[name][1])
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for key, weights in model.named_parameters():
            if weights.dim() > 1:
                weights.normal_(std=0.15)
            elif "sinks" in key or "bias" in key:
                weights.normal_()
    return model


def play(model: Any, **options: Any) -> tuple[TransformersEngine, list[Any]]:
    engine = TransformersEngine(model, pad_id=0, max_tokens=128, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return engine, together(engine, list(range(6)), tokens=8)


def read_by(engine: TransformersEngine) -> str:
    assert engine._found is not None
    return engine._found[0].name


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_read_as_it_reads_itself(name: str) -> None:
    model = small(name)
    engine, found = play(model)
    assert read_by(engine) == MODELS[name][0]
    assert model.get_decoder().config._attn_implementation == "eager"
    for trajectory in found:
        for ids, reply in trajectory:
            assert reply.logprobs == pytest.approx(full_forward(model, ids, reply.token_ids, 1.0), abs=2e-4)


def test_a_model_that_is_read_anew_is_named() -> None:
    engine = TransformersEngine(small("Bloom"), pad_id=0, max_tokens=128)
    with pytest.warns(UserWarning, match="BloomForCausalLM is read anew for every token, which is slow"):
        asyncio.run(converse(engine, 0))


def test_a_reader_with_other_log_probs_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = fused._Product.__call__
    monkeypatch.setattr(fused._Product, "__call__", lambda product, x: 1.1 * plain(product, x))
    engine, found = play(small("Llama"))
    assert read_by(engine) == "flat"
    monkeypatch.undo()
    assert tokens_of(found) == tokens_of(play(small("Llama"))[1])


@pytest.mark.parametrize("joined", [True, False])
@pytest.mark.parametrize("target", ["all-linear", ".*(q|v)_proj"])
def test_adapters_are_part_of_the_products(monkeypatch: pytest.MonkeyPatch, target: str, joined: bool) -> None:
    monkeypatch.setattr(fused, "_SMALL", (1 << 30) * joined)
    model = add_lora(small("Llama"), LoraConfig(rank=4, target=target), 0).eval()
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if "lora_B" in name:
                weights.normal_(std=0.1)
    engine, found = play(model)
    assert read_by(engine) == "fused"
    for ids, reply in found[0]:
        assert reply.logprobs == pytest.approx(full_forward(model, ids, reply.token_ids, 1.0), abs=2e-4)
    assert tokens_of(found) != tokens_of(play(small("Llama"))[1])


def test_sequences_of_very_different_lengths_are_read_one_by_one() -> None:
    """Too much would be read in vain side by side."""
    model = small("Qwen3")

    async def run(engine: TransformersEngine) -> list[Any]:
        few, many = converse(engine, 1, turns=4, tokens=20), (converse(engine, n, turns=2, tokens=2) for n in range(20))
        return list(await asyncio.gather(few, *many))

    found = asyncio.run(run(TransformersEngine(model, pad_id=0, max_tokens=128)))
    [alone] = together(TransformersEngine(model, pad_id=0, max_tokens=128), [1], turns=4, tokens=20)
    assert tokens_of(found[:1]) == tokens_of([alone])


@pytest.mark.parametrize("name", ["Llama", "Qwen3 with a window"])
def test_steps_of_every_slot_give_the_same_replies(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """What a GPU replays, computed here each time. Slots that wait or are free do no harm."""
    made = list[Steps]()

    def computed_before(compute: Callable[[], None]) -> Callable[[], None]:
        compute()  # as before a graph is captured
        return compute

    def step(reader: Fused, cache: Any, *asked: Any) -> Any:
        if not made or made[-1].allocations != cache.allocations:
            made.append(Steps(reader._decoder, cache, computed_before))
        return made[-1](*asked)

    _, plain = play(small(name))
    monkeypatch.setattr(Fused, "step", step)
    engine, stepped = play(small(name), max_batch=4)  # six conversations: some wait with what they have
    assert len(made) == 1
    assert engine.stats.cached_tokens > 0
    assert tokens_of(stepped) == tokens_of(plain)
    for one, other in zip(plain, stepped, strict=True):
        for (_, a), (_, b) in zip(one, other, strict=True):
            assert a.logprobs == pytest.approx(b.logprobs, abs=1e-4)


def test_prompts_come_together_where_steps_are_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading prompts costs as much as some steps there; which tokens are drawn does not depend on it."""
    model = small("Llama")

    async def run() -> tuple[EngineStats, list[Any]]:
        engine = TransformersEngine(model, pad_id=0, max_tokens=128)
        found = list(await asyncio.gather(*[converse(engine, n, turns=4, tokens=3 + n) for n in range(6)]))
        return engine.stats, found

    at_once, plain = asyncio.run(run())
    monkeypatch.setattr(Fused, "__init__", _replaying(Fused.__init__))
    grouped, found = asyncio.run(run())
    assert tokens_of(found) == tokens_of(plain)
    assert grouped.new_tokens == at_once.new_tokens
    assert grouped.forwards > at_once.forwards


def _replaying(begin: Any) -> Any:
    def init(reader: Fused, *asked: Any) -> None:
        begin(reader, *asked)
        reader._are_trusted = True

    return init


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gpu_replays_its_steps(dtype: torch.dtype) -> None:
    model = small("Qwen3").to("cuda", dtype)
    engine, found = play(model)
    assert read_by(engine) == "fused"
    assert engine._found is not None
    assert engine._found[0]._are_trusted is True  # type: ignore[attr-defined]
    close = 2e-3 if dtype == torch.float32 else 0.2
    for ids, reply in found[0]:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids + reply.token_ids], device="cuda")).logits[0].float()
        scores = torch.log_softmax(logits, -1)
        wanted = [float(scores[len(ids) + n - 1, token]) for n, token in enumerate(reply.token_ids)]
        assert reply.logprobs == pytest.approx(wanted, abs=close)
