"""The model as the learner holds it: types of its weights, attention, adapters, activation checkpointing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.config.schema import Config
from codctl.models import attention
from codctl.models.models import load_model, with_adapters
from codctl.seeds import derive_seed

if TYPE_CHECKING:
    import torch


def load_trainable(folder: Path, config: Config, device: str) -> Any:
    """The model of a folder, ready for `Learner`; an engine may sample with the same object.

    What is trained is kept in float32: all weights, or the adapters on a base in `model.dtype`. For evaluation
    `load_model` is enough, which keeps everything in one type.

    Args:
        folder: Hugging Face folder to start from.
        config: Recipe.
        device: "auto", or what torch calls a device.

    Raises:
        PreflightError: The model cannot be loaded, or its attention cannot run on the device.
    """
    return make_trainable(load_model(folder, loaded_dtype(config), device), config)


def loaded_dtype(config: Config) -> str:
    """Type that a model is to have before `make_trainable`: float32 where all its weights train."""
    return config.model.dtype if config.model.lora.rank else "float32"


def make_trainable(model: Any, config: Config) -> Any:
    """Give a model in `loaded_dtype`, on its device, the adapters, attention and checkpointing of a recipe.

    Adapters that it comes with are trained further.

    Raises:
        PreflightError: Its attention cannot run on the device.
    """
    lora = config.model.lora
    if lora.rank:
        model = with_adapters(model, lora, derive_seed(config.seed, "lora"))
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
    use_attention(model, config.model.attention, config.model.dtype)
    if config.train.activation_checkpointing:
        checkpoint_activations(model)
    return model


def autocast_type(dtype: str) -> torch.dtype | None:
    """What `TokenLogprobs` and the engine must be given for a model of `load_trainable`; None needs no autocast.

    Both, because sampling and training log-probs only agree when they are computed by the same arithmetic.
    """
    import torch

    return torch.bfloat16 if dtype == "bfloat16" else None


def use_attention(model: Any, wanted: str, dtype: str = "bfloat16") -> None:
    """Switch a loaded model to the attention that `model.attention` asks for, on its device and for this arithmetic."""
    base = _base(model)
    name = attention.attention_of(wanted, next(model.parameters()).device.type, dtype)
    if name == base.config._attn_implementation:
        return
    attention.register()
    base.set_attn_implementation(name)


def checkpoint_activations(model: Any) -> None:
    """Keep only what enters each layer, and compute the rest again in the backward pass; in training mode only."""
    _base(model).gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})


def _base(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model
