"""Weights that a learner has published, put into a model that is in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import load_file

_ADAPTER = "adapter_model.safetensors"


def load_published(model: Any, folder: Path) -> None:
    """Copy the weights of a folder into a model.

    Args:
        model: Causal model; PEFT-wrapped when the folder holds an adapter.
        folder: Hugging Face model folder in safetensors, or a PEFT adapter's. Tied weights may be missing.

    Raises:
        ValueError: The folder holds weights of another model.
    """
    if (folder / _ADAPTER).is_file():
        from peft import set_peft_model_state_dict

        unexpected = set_peft_model_state_dict(model, load_file(folder / _ADAPTER)).unexpected_keys
    else:
        parts = sorted(folder.glob("*.safetensors"))
        unexpected = [
            key for part in parts for key in model.load_state_dict(load_file(part), strict=False).unexpected_keys
        ]
    if unexpected:
        raise ValueError(f"{folder} holds weights of another model: {unexpected[0]} and {len(unexpected) - 1} more")
