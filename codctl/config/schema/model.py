"""The model of a recipe: where it comes from, or how it is built; adapters, data type, device."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from codctl.config.consistency import MisfitError
from codctl.config.schema.fields import MOST_TOKENS, Section, added, resource, training


class BuildWorld(Section):
    family: str = training("frozen_lake", "Family of worlds (`codctl env list`).")
    preset: str = training("tiny", "Difficulty preset of the family.")


class BuildConfig(Section):
    layers: int = training(2, "Transformer layers.", ge=1, le=512)
    width: int = training(128, "Hidden size.", ge=8, le=65_536)
    heads: int = training(4, "Attention heads.", ge=1, le=1024)
    kv_heads: int = training(4, "Key-value heads (must divide `heads`).", ge=1, le=1024)
    head_dim: int = training(32, "Size of one attention head, even.", ge=8, le=1024)
    ffn: int = training(384, "Width of the gated feed-forward layer.", ge=8, le=262_144)
    vocab: int = training(384, "Largest vocabulary of the tokenizer, trained on rendered packs.", ge=300, le=1_000_000)
    max_tokens: int = training(512, "Longest sequence, in tokens.", ge=64, le=MOST_TOKENS)
    rope_theta: float = training(10000.0, "Base of the rotary positions; small for short contexts.", ge=2, le=1e12)
    tie_embeddings: bool = training(False, "Share input and output embeddings.")
    worlds: Annotated[tuple[BuildWorld, ...], Field(strict=False)] = added(
        (), "Worlds whose words the tokenizer knows; empty: those of the training."
    )

    @model_validator(mode="after")
    def _heads_fit(self) -> BuildConfig:
        if self.heads % self.kv_heads:
            reason = f"heads={self.heads} is not a multiple of kv_heads={self.kv_heads}"
            raise MisfitError("model.build.kv_heads", reason, f"model.build.kv_heads={self.heads}, or a divisor of it")
        if self.head_dim % 2:
            reason = f"head_dim={self.head_dim} is odd; rotary positions need pairs"
            raise MisfitError("model.build.head_dim", reason, f"model.build.head_dim={self.head_dim - 1}")
        return self


class LoraConfig(Section):
    rank: int = training(0, "Rank of the LoRA adapters; 0 trains all weights.", ge=0, le=4096)
    alpha: float = training(16.0, "LoRA scale (the update is scaled by alpha / rank).", ge=1e-6, le=1e6)
    target: str = training("all-linear", "Modules that get adapters, as PEFT names them.")


class ModelConfig(Section):
    path: str | None = training(
        None, "Hugging Face folder or hub id to start from; null builds the tiny Qwen3 of `model.build`."
    )
    revision: str | None = added(None, "Commit or tag of the hub id in `model.path`; null is its newest.")
    init: Literal["weights", "random"] = added(
        "weights", "`random` builds the architecture of `model.path` without its weights: for smoke tests and speed."
    )
    build: BuildConfig = Field(
        default_factory=BuildConfig, description="Size of the model that is built when `model.path` is null."
    )
    lora: LoraConfig = Field(
        default_factory=LoraConfig, description="LoRA adapters for warm start and CoD-Train (PEFT)."
    )
    dtype: Literal["float32", "bfloat16"] = training(
        "float32", "Data type of the computation and of frozen weights; trained weights are float32."
    )
    attention: Literal["auto", "sdpa", "eager", "varlen", "flash_attention_2"] = resource(
        "auto", "Attention; `varlen` needs no padding; `auto`: in bfloat16 varlen on GPUs and eager on CPUs, else sdpa."
    )
    device: Literal["auto", "cpu", "cuda"] = resource("auto", "Where the model runs.")

    @model_validator(mode="after")
    def _has_a_path(self) -> ModelConfig:
        if self.path is None and self.revision is not None:
            raise ValueError("revision needs a hub id in model.path, which is null")
        if self.path is None and self.init == "random":
            raise ValueError("init=random needs an architecture in model.path, which is null")
        return self
