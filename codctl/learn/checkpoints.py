"""Sealed training checkpoints: trained weights and optimiser. Safetensors and weights-only loading."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from codctl.learn.learner import Learner
from codctl.runs.seal import newest_sealed, read_info, sealing


def save(folder: Path, model: Any, learner: Learner, step: int) -> None:
    """Write the checkpoint after `step` rollout steps, whole or not at all.

    Only trained parameters are stored; shared ones once.
    """
    with sealing(folder / _name(step), {"step": step}) as temp:
        weights = {name: p.detach().contiguous().cpu() for name, p in _trained(model)}
        save_file(weights, temp / "weights.safetensors")
        with (temp / "optimizer.pt").open("wb") as file:  # not by name: then torch would hide that the disk is full
            torch.save(learner.optimizer.state_dict(), file)


def load_newest(folder: Path, model: Any, learner: Learner) -> tuple[int, list[str]]:
    """Restore the newest checkpoint that is whole.

    Returns:
        The step it was taken after (0 when there is none), and why newer ones were passed over.
    """
    newest, skipped = newest_sealed(folder)
    if newest is None:
        return 0, skipped
    weights = load_file(newest / "weights.safetensors")
    with torch.no_grad():
        for name, parameter in _trained(model):
            parameter.copy_(weights[name])
    device = next(model.parameters()).device
    state = torch.load(newest / "optimizer.pt", weights_only=True, map_location=device)
    learner.optimizer.load_state_dict(state)
    return int(read_info(newest)["step"]), skipped


def prune(folder: Path, kept: int, *, newest: int) -> None:
    """Delete all but the last `kept` up to step `newest`; what comes later was passed over as broken."""
    found = sorted(folder.glob("step-*"))
    past = [path for path in found if path.name <= _name(newest)]
    for path in found:
        if path not in past[-kept:]:
            shutil.rmtree(path)


def _name(step: int) -> str:
    return f"step-{step:06d}"


def _trained(model: Any) -> list[tuple[str, torch.nn.Parameter]]:
    return [(name, p) for name, p in model.named_parameters() if p.requires_grad]
