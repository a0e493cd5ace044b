"""Shapes of models by numbers alone: the published Qwen3 sizes, a folder's config.json, or `model.build`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codctl.config.schema import BuildConfig
from codctl.errors import PreflightError


@dataclass(frozen=True)
class Architecture:
    """A decoder of the Llama and Qwen3 kind: grouped-query attention, a gated feed-forward layer, no biases.

    Attributes:
        layers: Transformer layers.
        width: Hidden size.
        heads: Attention heads.
        kv_heads: Key-value heads.
        head_dim: Size of one head.
        ffn: Width of the feed-forward layer.
        vocab: Rows of the embeddings.
        tie_embeddings: Whether input and output share them.
        max_tokens: Longest sequence.
        rope_theta: Base of the rotary positions.
        norms_heads: Whether queries and keys of each head are normed, as in Qwen3.
        attention: Parameters of the attention of a layer, in the mean, where it is not what the heads say.
        kv_layers: Layers that keep keys and values of every token; None: all. Others have linear attention.
    """

    layers: int
    width: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    tie_embeddings: bool
    max_tokens: int
    rope_theta: float
    norms_heads: bool = True
    attention: int | None = None
    kv_layers: int | None = None

    @property
    def embedding_parameters(self) -> int:
        """Of input and output together; shared ones count once."""
        return self.vocab * self.width * (1 if self.tie_embeddings else 2)

    @property
    def layer_parameters(self) -> int:
        """Of one transformer layer."""
        attention = self.width * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        attention += 2 * self.head_dim if self.norms_heads else 0
        attention = attention if self.attention is None else self.attention
        return attention + 3 * self.width * self.ffn + 2 * self.width

    @property
    def parameters(self) -> int:
        """Of the whole model, as it is stored."""
        return self.layers * self.layer_parameters + self.embedding_parameters + self.width


@dataclass(frozen=True)
class Published:
    """A model on the hub whose shape is known without it.

    Attributes:
        revision: Commit at which codctl knows it; None where its shape is known from what is published about it.
        architecture: Its shape.
    """

    revision: str | None
    architecture: Architecture


def _qwen3(revision: str, layers: int, width: int, heads: int, ffn: int, *, tied: bool) -> Published:
    shape = Architecture(
        layers=layers,
        width=width,
        heads=heads,
        kv_heads=8,
        head_dim=128,
        ffn=ffn,
        vocab=151_936,
        tie_embeddings=tied,
        max_tokens=40_960,
        rope_theta=1e6,
    )
    return Published(revision, shape)


def _smollm2(layers: int, width: int, heads: int, kv_heads: int, ffn: int) -> Published:
    shape = Architecture(
        layers=layers,
        width=width,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=64,
        ffn=ffn,
        vocab=49_152,
        tie_embeddings=True,
        max_tokens=8192,
        rope_theta=1e5,
        norms_heads=False,
    )
    return Published(None, shape)


# Three of four layers have linear attention (48 heads of values, 16 of queries and keys, of 128 numbers each), the
# fourth gated attention: 115,876,064 and 104,858,112 parameters. Without vision and token prediction.
_QWEN36_27B = Architecture(
    layers=64,
    width=5120,
    heads=24,
    kv_heads=4,
    head_dim=256,
    ffn=17_408,
    vocab=248_320,
    tie_embeddings=False,
    max_tokens=262_144,
    rope_theta=1e7,
    attention=(3 * 115_876_064 + 104_858_112) // 4,
    kv_layers=16,
)


# Source: config.json of each model at its revision.
PUBLISHED = {
    "Qwen/Qwen3-0.6B": _qwen3("c1899de289a04d12100db370d81485cdf75e47ca", 28, 1024, 16, 3072, tied=True),
    "Qwen/Qwen3-1.7B": _qwen3("70d244cc86ccca08cf5af4e1e306ecf908b1ad5e", 28, 2048, 16, 6144, tied=True),
    "Qwen/Qwen3-4B": _qwen3("1cfa9a7208912126459214e8b04321603b3df60c", 36, 2560, 32, 9728, tied=True),
    "Qwen/Qwen3-8B": _qwen3("b968826d9c46dd6066d109eabc6255188de91218", 36, 4096, 32, 12288, tied=False),
    "Qwen/Qwen3-14B": _qwen3("40c069824f4251a91eefaf281ebe4c544efd3e18", 40, 5120, 40, 17408, tied=False),
    "Qwen/Qwen3-32B": _qwen3("9216db5781bf21249d130ec9da846c4624c16137", 64, 5120, 64, 25600, tied=False),
    "Qwen/Qwen3.6-27B": Published(None, _QWEN36_27B),
    "HuggingFaceTB/SmolLM2-135M-Instruct": _smollm2(30, 576, 9, 3, 1536),
    "HuggingFaceTB/SmolLM2-360M-Instruct": _smollm2(32, 960, 15, 5, 2560),
}


_MOST_THETA = 10**15  # beyond any model's


def of_build(build: BuildConfig) -> Architecture:
    """The tiny model of `model.build`; its vocabulary is what the tokenizer may have at most."""
    return Architecture(
        layers=build.layers,
        width=build.width,
        heads=build.heads,
        kv_heads=build.kv_heads,
        head_dim=build.head_dim,
        ffn=build.ffn,
        vocab=build.vocab,
        tie_embeddings=build.tie_embeddings,
        max_tokens=build.max_tokens,
        rope_theta=build.rope_theta,
    )


def of_folder(folder: Path) -> Architecture:
    """The shape that a model folder's config.json tells.

    Raises:
        PreflightError: There is none, it is no JSON, or a number is missing or impossible.
    """
    path = folder / "config.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise PreflightError(f"the model's config.json cannot be read: {error}", where=str(path)) from error
    if not isinstance(found, dict):
        raise PreflightError("the model's config.json cannot be read: it holds no JSON object", where=str(path))
    numbers = _Numbers(found, path)
    heads, width = numbers.of("num_attention_heads", 100_000), numbers.of("hidden_size", 10**6)
    rope = found.get("rope_parameters") or found
    theta = rope.get("rope_theta", 10_000.0) if isinstance(rope, dict) else None
    if isinstance(theta, bool) or not isinstance(theta, int | float) or not 0 < theta <= _MOST_THETA:
        raise PreflightError(f"rope_theta has to be a positive number, got {theta!r:.100}", where=str(path))
    return Architecture(
        layers=numbers.of("num_hidden_layers", 10_000),
        width=width,
        heads=heads,
        kv_heads=numbers.of("num_key_value_heads", 100_000, heads),
        head_dim=numbers.of("head_dim", 10**6, max(width // heads, 1)),
        ffn=numbers.of("intermediate_size", 10**7),
        vocab=numbers.of("vocab_size", 10**8),
        tie_embeddings=bool(found.get("tie_word_embeddings", False)),
        max_tokens=numbers.of("max_position_embeddings", 10**9),
        rope_theta=float(theta),
        norms_heads=str(found.get("model_type", "qwen3")).startswith(("qwen3", "gemma3", "olmo2")),
    )


@dataclass(frozen=True)
class _Numbers:
    """The counts of a config.json."""

    found: dict[str, Any]
    path: Path

    def of(self, name: str, most: int, default: int | None = None) -> int:
        """A number from 1 on; `most` is beyond any model, so that a damaged file cannot ask for all memory."""
        value = self.found.get(name)
        if value is None and default is not None:
            return default
        if value is None:
            raise PreflightError(
                f"the model's config.json has no {name}", where=str(self.path), hint="give a decoder-only model"
            )
        if type(value) is not int or not 1 <= value <= most:
            raise PreflightError(
                f"{name} has to be a number from 1 to {most:,}, got {value!r:.100}", where=str(self.path)
            )
        return value
