"""The planner's numbers against what torch really holds, on small models of the same architecture."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch.utils._python_dispatch import _disable_current_modes
from transformers import AutoModelForCausalLM, DynamicCache

from codctl.cod.engine import RequestTag, Sampling
from codctl.config.schema import Config
from codctl.engines import fused, kv_cache
from codctl.engines.budget import BLOCK
from codctl.engines.transformers_engine import TransformersEngine
from codctl.learner import checkpoints
from codctl.learner.batching import Sample
from codctl.learner.learner import Learner
from codctl.models.architectures import PUBLISHED, Architecture
from codctl.models.build import config_of_shape
from codctl.models.load import add_lora, checkpoint_activations, use_attention
from codctl.plan import engines, memory, sizes
from codctl.plan.lengths import Lengths
from codctl.plan.memory import Split
from tests.plan.living import Living

SIZE = {
    "layers": 4, "width": 128, "heads": 4, "kv_heads": 2, "head_dim": 32, "ffn": 320, "vocab": 1500, "max_tokens": 512,
}  # fmt: skip
ROWS, LENGTH = 2, 128
MODES = [
    pytest.param(dtype, rank, id=f"{dtype}-{'lora' if rank else 'full'}")
    for dtype in ("float32", "bfloat16")
    for rank in (0, 8)
]
ATTENTIONS = {"varlen": MODES, "eager": MODES[-1:]}  # eager: what a CPU learns with in bfloat16


@pytest.fixture(autouse=True)
def every_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """The models here have as many tokens as `model.build.vocab` allows, and no tokenizer."""
    monkeypatch.setattr(sizes, "built_chat", lambda config: None)


def recipe(dtype: str = "float32", rank: int = 0, *, attention: str = "varlen", **more: Any) -> Config:
    build = {**SIZE, **more.pop("build", {})}
    train = {"micro_batch_tokens": ROWS * LENGTH, "logprob_chunk": 64, **more}
    model = {"build": build, "dtype": dtype, "lora": {"rank": rank}, "attention": attention}
    return Config.model_validate({"model": model, "train": train})


def decoder(shape: Architecture) -> Any:
    """A model of the shape, where the default device is."""
    return AutoModelForCausalLM.from_config(config_of_shape(shape, shape.vocab))


def trainable(config: Config) -> Any:
    """As `learn.trainable.load_trainable` makes it, without a folder."""
    model = decoder(sizes.find_model(config).shape)
    if config.model.lora.rank:
        model = add_lora(model.to(getattr(torch, config.model.dtype)), config.model.lora, 0)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
    use_attention(model, config.model.attention, config.model.dtype)
    if config.train.activation_checkpointing:
        checkpoint_activations(model)
    return model


def learner(config: Config, model: Any) -> Learner:
    dtype = getattr(torch, config.model.dtype)
    return Learner(model, config.train, pad_id=0, temperature=1.0, seed=0, dtype=dtype)


def rows(count: int) -> list[Sample]:
    rng = Random(0)
    mask = [0] * (LENGTH // 2) + [1] * (LENGTH // 2)
    ids = [[rng.randrange(1, SIZE["vocab"]) for _ in mask] for _ in range(count)]
    return [Sample(own, mask, [-8.0 * sampled for sampled in mask], rng.uniform(0.5, 1)) for own in ids]


@pytest.mark.parametrize("name", [name for name, one in PUBLISHED.items() if one.architecture.attention is None])
def test_parameters_are_exact(name: str) -> None:
    config = Config.model_validate({"model": {"path": name}})
    with torch.device("meta"):
        real = decoder(sizes.find_model(config).shape)
    assert sizes.find_model(config).trained == sum(p.numel() for p in real.parameters())


@pytest.mark.parametrize("target", ["all-linear", ".*(q|v)_proj", ".*mlp.down_proj"])
def test_adapters_are_exact(target: str) -> None:
    config = Config.model_validate({"model": {"build": SIZE, "lora": {"rank": 4, "target": target}}})
    found = sizes.find_model(config)
    trained = [p for p in add_lora(decoder(found.shape), config.model.lora, 0).parameters() if p.requires_grad]
    assert (found.trained, found.tensors) == (sum(p.numel() for p in trained), len(trained))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_kv_cache_of_a_token_is_exact(dtype: str) -> None:
    found = sizes.find_model(recipe(dtype))
    cache = DynamicCache()
    with torch.no_grad():
        decoder(found.shape).to(getattr(torch, dtype))(
            input_ids=torch.ones(1, 7, dtype=torch.long), past_key_values=cache
        )
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert held == 7 * found.kv_bytes


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("heads", "sequences", "prompt", "reply"),
    [(16, 4, 250, 4), (32, 1, 128, 4), (8, 12, 20, 14)],
)
def test_the_memory_of_the_engine_is_that_of_the_plan(
    monkeypatch: pytest.MonkeyPatch, dtype: str, heads: int, sequences: int, prompt: int, reply: int
) -> None:
    """Keys and values that were written, and what else lives at the peak, in the attention of Qwen3-0.6B and 8B."""
    build = {"layers": 28, "width": 32, "ffn": 32, "heads": heads, "kv_heads": 8, "head_dim": 128}
    found = sizes.find_model(recipe(dtype, build=build))
    model = decoder(found.shape).to(getattr(torch, dtype)).eval()
    use_attention(model, "auto", dtype)
    engine = TransformersEngine(model, pad_id=0, max_tokens=512, max_batch=sequences)
    engine._pass_tokens = 256
    monkeypatch.setattr(fused, "_SMALL", 0)  # as in a large model, matrices are not laid together
    monkeypatch.setattr(kv_cache, "_Memory", unseen(kv_cache._Memory))
    peak = Peak(engine, BLOCK * found.kv_bytes, list(model.parameters()))
    tag = RequestTag("p", 0, 0, 0, "solve")

    async def play() -> None:
        calls = [engine.generate([2 + n] * prompt, Sampling(reply), seed=n, tag=tag) for n in range(sequences)]
        await asyncio.gather(*calls)

    with peak:
        asyncio.run(play())
    kept = engines.kv_bytes(found, sequences, prompt + reply, prompt + reply, "cpu")
    assert kept == pytest.approx(peak.kept, rel=0.01)
    planned = kept + engines.pass_bytes(found, sequences, prompt + reply, 256, "cpu")
    assert planned == pytest.approx(peak.kept + peak.beside, rel=0.1)


def unseen(make: Any) -> Any:
    """Memory that is only reserved is not counted before the cache holds it."""

    def made(*arguments: Any) -> Any:
        with _disable_current_modes():
            return make(*arguments)

    return made


class Peak(Living):
    """What lives beside the parameters at the peak: `kept` are keys and values, `beside` all the rest."""

    def __init__(self, engine: TransformersEngine, of_block: int, parameters: list[torch.Tensor]) -> None:
        super().__init__(parameters)
        self._engine, self._of_block, self._parameters = engine, of_block, self.now
        self.kept = self.beside = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = super().__torch_dispatch__(function, types, args, kwargs)
        if self._engine._found is not None:  # before, it tries out how to read the model
            cache = self._engine._found[1]
            memories = [memory.states_SKLD for layer in cache.layers if layer for memory in layer]
            reserved = sum(memory.untyped_storage().nbytes() for memory in memories)
            self.beside = max(self.beside, self.now - self._parameters - reserved)
            self.kept = max(self.kept, cache.resident * self._of_block)
        return found


@pytest.mark.parametrize(("rank", "tied"), [(0, False), (0, True), (8, False)])
def test_the_bytes_of_a_checkpoint_are_exact(rank: int, tied: bool, tmp_path: Path) -> None:
    config = recipe(rank=rank, build={"tie_embeddings": tied})
    trained = learner(config, trainable(config))
    trained.learn(rows(1), 1)
    checkpoints.save(tmp_path, trained, 1)
    [file] = tmp_path.rglob("*.safetensors")
    with safe_open(file, "pt") as stored:
        held = sum(stored.get_tensor(key).nbytes for key in stored.keys())  # noqa: SIM118  it is no dict
    assert held == sizes.find_model(config).checkpoint_bytes


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(
    ("attention", "dtype", "rank"),
    [(name, *mode.values) for name, modes in ATTENTIONS.items() for mode in modes],
)
def test_the_peak_of_a_learner_is_near_the_estimate(attention: str, dtype: str, rank: int, checkpointing: bool) -> None:
    config = recipe(dtype, rank, attention=attention, activation_checkpointing=checkpointing)
    model = trainable(config)
    trained = learner(config, model)
    trained.learn(rows(1), 1)  # the moments of AdamW are there from now on
    state = [t for own in trained.optimizer.state.values() for t in own.values()]
    with Living([*model.parameters(), *state]) as living:
        trained.learn(rows(2 * ROWS), 2)
    assert estimate(config) == pytest.approx(living.peak, rel=0.15)


def estimate(config: Config) -> int:
    """What a learner holds at its peak, without its libraries and without a checkpoint that is being written."""
    tokens = Lengths(1, 1, 1, 1, 1, 1, 0, 1, LENGTH, LENGTH, LENGTH, LENGTH)
    parts = memory.learning(sizes.find_model(config), Split(1, False, "cpu"), config, tokens)
    return memory.total(part for part in parts if part.name not in ("libraries", "checkpoint"))


@pytest.mark.parametrize(("dtype", "rank"), MODES)
def test_what_a_layer_keeps_for_the_backward_pass(dtype: str, rank: int) -> None:
    """One layer more, and one token more: what autograd saves besides parameters and their casts."""

    def kept(layers: int, tokens: int) -> int:
        config = recipe(dtype, rank, build={"layers": layers})
        return saved_bytes(trainable(config).train(), tokens, config.model.dtype == "bfloat16")

    more = (kept(2, 128) - kept(1, 128)) - (kept(2, 64) - kept(1, 64))
    assert memory.activation_bytes(sizes.find_model(recipe(dtype, rank))) == pytest.approx(more / 64, rel=0.02)


def saved_bytes(model: Any, tokens: int, autocast: bool) -> int:
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    saved: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        saved.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t), torch.autocast("cpu", enabled=autocast):
        base.get_decoder()(input_ids=torch.zeros(1, tokens, dtype=torch.long), use_cache=False)
    return sum(t.untyped_storage().nbytes() for place, t in saved.items() if place not in parameters)
