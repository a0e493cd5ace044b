"""The model of a recipe by numbers: its architecture, how much of it is trained, and in which types."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from codctl.config.schema import BuildConfig, Config, LoraConfig, ModelConfig, WorldConfig
from codctl.envs.base import UpdateRule
from codctl.errors import CodctlError
from codctl.models.architectures import PUBLISHED, Architecture, of_build, of_folder

if TYPE_CHECKING:
    from codctl.models.build import BuiltChat

MASTER = 4  # bytes of a number that is trained
MOMENTS = 8  # AdamW keeps two of them in float32


@dataclass(frozen=True)
class Model:
    """A model as a recipe trains it.

    Attributes:
        name: What it starts from.
        shape: Its architecture.
        trained: Parameters that are trained: all, or those of the adapters.
        tensors: In as many tensors.
        adapter: Whether these are adapters.
        number: Bytes of a number of the arithmetic (`model.dtype`).
    """

    name: str
    shape: Architecture
    trained: int
    tensors: int
    adapter: bool
    number: int

    @property
    def frozen(self) -> int:
        return self.shape.parameters if self.adapter else 0

    @property
    def matrices(self) -> int:
        """Parameters that every token meets in a matrix product: those of the layers."""
        return self.shape.layers * self.shape.layer_parameters

    @property
    def head(self) -> int:
        """Parameters of the output layer, shared or not."""
        return self.shape.vocab * self.shape.width

    @property
    def kv_bytes(self) -> int:
        """Keys and values of one token, in every layer that keeps them."""
        layers = self.shape.layers if self.shape.kv_layers is None else self.shape.kv_layers
        return 2 * layers * self.shape.kv_heads * self.shape.head_dim * self.number

    @property
    def checkpoint_bytes(self) -> int:
        """Trained weights, both moments, and a step count for each tensor."""
        return (MASTER + MOMENTS) * self.trained + 4 * self.tensors

    @property
    def published_bytes(self) -> int:
        """What an engine apart is given: the adapters, or the whole model in `model.dtype`."""
        return MASTER * self.trained if self.adapter else self.number * self.shape.parameters


def find_model(config: Config) -> Model:
    """Size up the model of a recipe, from published numbers, a config.json, or `model.build`. No network.

    Raises:
        PreflightError: The shape is not known here; the hint says how to fetch it.
    """
    shape = find_shape(config.model)
    if config.model.path is None:
        chat = built_chat(config)
        shape = replace(shape, vocab=chat.vocabulary if chat else shape.vocab)
    adapters = list(_adapters(shape, config.model.lora))
    matrices, shared = 11 * shape.layers, 2 if shape.tie_embeddings else 3
    return Model(
        config.model.path or "model.build",
        shape,
        trained=sum(config.model.lora.rank * (wide_in + wide_out) for wide_in, wide_out in adapters)
        or shape.parameters,
        tensors=2 * len(adapters) or matrices + shared,
        adapter=config.model.lora.rank > 0,
        number=2 if config.model.dtype == "bfloat16" else 4,
    )


def built_chat(config: Config) -> BuiltChat | None:
    """The tokenizer of a model that codctl builds; None where there can be none."""
    build = config.model.build
    return _built_chat(BuildConfig(vocab=build.vocab, worlds=build.worlds), config.world, config.context.update)


@lru_cache(maxsize=32)
def _built_chat(build: BuildConfig, world: WorldConfig, update: UpdateRule) -> BuiltChat | None:
    from codctl.models.build import BuiltChat

    try:
        return BuiltChat(build, world, update)
    except (CodctlError, NotImplementedError):  # a family without demonstrations, which the preflight refuses
        return None


def find_shape(model: ModelConfig) -> Architecture:
    """As `find_model`, the architecture alone."""
    if model.path is None:
        return of_build(model.build)
    if model.path in PUBLISHED and not Path(model.path).is_dir():
        return PUBLISHED[model.path].architecture
    from codctl.models.hub import located
    from codctl.models.load import base_folder

    return of_folder(base_folder(located(model.path, model.revision, weights=False)))


def _adapters(shape: Architecture, lora: LoraConfig) -> Iterator[tuple[int, int]]:
    """Input and output of each linear layer that gets an adapter, chosen as PEFT chooses them by a text."""
    if not lora.rank:
        return
    for i in range(shape.layers):
        for name, wide in _layer(shape).items():
            if lora.target == "all-linear" or _is_meant(lora.target, f"model.layers.{i}.{name}"):
                yield wide
    if lora.target != "all-linear" and _is_meant(lora.target, "lm_head"):
        yield shape.width, shape.vocab


def _is_meant(target: str, name: str) -> bool:
    return bool(re.fullmatch(target, name)) or f".{name}".endswith(f".{target}")


def _layer(shape: Architecture) -> dict[str, tuple[int, int]]:
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    return {
        "self_attn.q_proj": (shape.width, queries),
        "self_attn.k_proj": (shape.width, keys),
        "self_attn.v_proj": (shape.width, keys),
        "self_attn.o_proj": (queries, shape.width),
        "mlp.gate_proj": (shape.width, shape.ffn),
        "mlp.up_proj": (shape.width, shape.ffn),
        "mlp.down_proj": (shape.ffn, shape.width),
    }
