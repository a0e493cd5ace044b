"""The trained weights as an engine beside the learner loads them: a Hugging Face folder, or a PEFT adapter's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch

from codctl.files import atomic
from codctl.learner.learner import Learner
from codctl.learner.spread import whole


def publish(learner: Learner, folder: Path) -> None:
    """Write the model in `learner.dtype`, or its LoRA adapter as it is trained.

    Every process calls it, the chief writes.

    The folder appears whole or not at all, but is not made to survive a power cut: engines read it and it is gone.

    Args:
        learner: Its parameters are gathered one after the other.
        folder: New, or empty.

    Raises:
        StageError: Disk full, no permission and the like.
    """
    tensors = _adapter(learner) if hasattr(learner.model, "peft_config") else _model(learner)
    if learner.ranks.is_chief:
        with atomic.storage_errors(folder):
            _write(learner.model, tensors, folder)


@torch.no_grad()
def _adapter(learner: Learner) -> dict[str, torch.Tensor]:
    return {name: whole(parameter.detach()).cpu() for name, parameter in learner.trained()}


@torch.no_grad()
def _model(learner: Learner) -> dict[str, torch.Tensor]:
    """All parameters and stored buffers by their names; those that are shared, under their first name alone."""
    found: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, tensor in learner.model.state_dict(keep_vars=True).items():
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        gathered = whole(tensor.detach())
        if learner.ranks.is_chief:
            found[name] = (gathered.to(learner.dtype) if gathered.is_floating_point() else gathered).cpu()
    return found


def _write(model: Any, tensors: dict[str, torch.Tensor], folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    temp = atomic.temp_sibling(folder)
    try:
        model.save_pretrained(temp, state_dict=tensors)
        if (config := temp / "config.json").is_file():
            dtype = next(iter(tensors.values())).dtype
            about = json.loads(config.read_text()) | {"dtype": str(dtype).removeprefix("torch.")}
            config.write_text(json.dumps(about, indent=2, sort_keys=True) + "\n")
        temp.rename(folder)
    except BaseException:
        shutil.rmtree(temp, ignore_errors=True)
        raise
