"""A model's architecture with random weights, at any size: for smoke tests and throughput, never for results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from codctl.config.schema import Config
from codctl.models import hub
from codctl.models.architectures import PUBLISHED, Architecture
from codctl.models.model_check import read_config
from codctl.models.models import load_tokenizer, pick_device
from codctl.seeds import derive_seed

_VOCAB = 4096  # of a tokenizer trained on rendered packs: about a token for a word
_INITIALIZER_RANGE = 0.02


def config_of_shape(shape: Architecture, vocab: int, initializer_range: float = _INITIALIZER_RANGE) -> Any:
    """The transformers config of a shape, of Llama's where heads are not normed; special tokens are still to be set."""
    from transformers import LlamaConfig, Qwen3Config

    kind = Qwen3Config if shape.norms_heads else LlamaConfig
    return kind(
        vocab_size=vocab,
        hidden_size=shape.width,
        intermediate_size=shape.ffn,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        max_position_embeddings=shape.max_tokens,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        tie_word_embeddings=shape.tie_embeddings,
        bos_token_id=None,
        initializer_range=initializer_range,
    )


def config_of(path: str, revision: str | None = None) -> Any:
    """The transformers config of a folder, a cached hub id, or a hub id whose shape codctl knows; no network.

    Raises:
        PreflightError: None of these, or a config that needs code of its own.
    """
    folder = hub.find(path, revision, weights=False)
    if folder is None and path in PUBLISHED:
        shape = PUBLISHED[path].architecture
        return config_of_shape(shape, shape.vocab)
    place = folder or hub.located(path, revision, weights=False)
    return read_config(place)


def random_model(config: Any, dtype: str, device: str, seed: int) -> Any:
    """Build a model where it will be and in its type: there is never a second copy.

    Args:
        config: Of transformers.
        dtype: float32 or bfloat16.
        device: As `model.device`.
        seed: Another device gives other weights.
    """
    import torch
    from transformers import AutoModelForCausalLM

    place = torch.device(pick_device(device) if device in ("auto", "cuda") else device)
    devices = [torch.cuda.current_device()] if place.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), place:
        torch.manual_seed(seed % 2**32)
        return AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype)).eval()


def build_random_folder(config: Config, folder: Path) -> None:
    """Write tokenizer and random weights of `model.path` as an ordinary Hugging Face folder, in `model.dtype`.

    Raises:
        PreflightError: Its architecture is not known here.
    """
    assert config.model.path is not None
    shape = config_of(config.model.path, config.model.revision)
    tokenizer = _tokenizer(config, shape.max_position_embeddings)
    shape.pad_token_id, shape.eos_token_id = tokenizer.pad_token_id, tokenizer.eos_token_id
    seed = derive_seed(config.seed, "model", "init")
    model = random_model(shape, config.model.dtype, config.model.device, seed)
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder, safe_serialization=True)


def _tokenizer(config: Config, max_tokens: int) -> Any:
    """The model's own where it is at hand, else one trained on the worlds of the recipe."""
    model = config.model
    folder = hub.find(str(model.path), model.revision, weights=False)
    if folder is not None and any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json")):
        return load_tokenizer(folder)
    from codctl.models.tiny import tokenizer_of_worlds

    return tokenizer_of_worlds(model.build, config.world, vocab=_VOCAB, max_tokens=max_tokens)
