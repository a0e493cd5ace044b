"""Checkpoints restore model and optimiser to the bit; a broken one is passed over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from codctl.config.schema import LoraConfig
from codctl.learn import checkpoints
from codctl.learn.models import add_lora, load_model
from tests.learn.samples import on_policy, random_samples
from tests.learn.test_learner import largest_difference, new_learner, weights_of

LORA = LoraConfig(rank=4, alpha=8.0)


def load(folder: Path, lora: bool) -> Any:
    model = load_model(folder, "float32", "cpu")
    return add_lora(model, LORA, seed=3) if lora else model


def steps(model: Any, learner: Any, numbers: range) -> None:
    for step in numbers:
        learner.learn(on_policy(model, random_samples(6, seed=step)), step)


@pytest.mark.parametrize("lora", [False, True])
def test_continuing_equals_not_stopping(tiny_folder: Path, tmp_path: Path, lora: bool) -> None:
    through = load(tiny_folder, lora)
    learner = new_learner(through, lr=1e-3, lr_schedule="cosine", steps=5)
    steps(through, learner, range(1, 3))
    checkpoints.save(tmp_path, through, learner, 2)
    steps(through, learner, range(3, 6))

    resumed = load(tiny_folder, lora)
    learner = new_learner(resumed, lr=1e-3, lr_schedule="cosine", steps=5)
    assert checkpoints.load_newest(tmp_path, resumed, learner) == (2, [])
    steps(resumed, learner, range(3, 6))
    assert largest_difference(weights_of(through), weights_of(resumed)) == 0


def test_no_checkpoint(model: Any, tmp_path: Path) -> None:
    before = weights_of(model)
    assert checkpoints.load_newest(tmp_path / "none", model, new_learner(model)) == (0, [])
    assert largest_difference(before, weights_of(model)) == 0


def saved_at(tiny_folder: Path, folder: Path, *numbers: int) -> Any:
    """A model with checkpoints after these steps; returns the weights after each."""
    model = load_model(tiny_folder, "float32", "cpu")
    learner, found = new_learner(model, lr=1e-3), {}
    for number in numbers:
        steps(model, learner, range(number, number + 1))
        checkpoints.save(folder, model, learner, number)
        found[number] = weights_of(model)
    return found


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.pt", "COMPLETE.json"])
@pytest.mark.parametrize("damage", [cut, flip_a_bit, Path.unlink])
def test_a_broken_checkpoint_falls_back_to_the_one_before(
    tiny_folder: Path, model: Any, tmp_path: Path, name: str, damage: Any
) -> None:
    weights = saved_at(tiny_folder, tmp_path, 1, 2)
    damage(tmp_path / "step-000002" / name)
    step, skipped = checkpoints.load_newest(tmp_path, model, new_learner(model))
    assert step == 1
    assert len(skipped) == 1
    assert skipped[0].startswith("step-000002: ")
    assert name in skipped[0]
    assert largest_difference(weights[1], weights_of(model)) == 0


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_prune_keeps_the_newest(tiny_folder: Path, tmp_path: Path) -> None:
    saved_at(tiny_folder, tmp_path, 1, 2, 3)
    checkpoints.prune(tmp_path, 2, newest=3)
    assert names(tmp_path) == ["step-000002", "step-000003"]


def test_prune_never_prefers_a_broken_later_checkpoint(tiny_folder: Path, tmp_path: Path) -> None:
    """After a fall-back the run saves earlier steps again; the one just saved must stay."""
    saved_at(tiny_folder, tmp_path, 1, 4)
    flip_a_bit(tmp_path / "step-000004" / "weights.safetensors")
    saved_at(tiny_folder, tmp_path, 2)
    checkpoints.prune(tmp_path, 1, newest=2)
    assert names(tmp_path) == ["step-000002"]


def test_weights_are_loaded_without_running_code(tiny_folder: Path, model: Any, tmp_path: Path) -> None:
    saved_at(tiny_folder, tmp_path, 1)
    state = torch.load(tmp_path / "step-000001" / "optimizer.pt", weights_only=True)
    assert set(state) == {"state", "param_groups"}
