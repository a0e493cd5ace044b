"""Where the model is sharded each process reads its own part: the bits of loading it whole, without the memory."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from codctl.config.schema import Config, LoraConfig
from codctl.learner.group import open_group
from codctl.learner.parallel import _fill
from codctl.models.architectures import Architecture
from codctl.models.build import config_of_shape
from codctl.models.load import add_lora, load_model, outline_model
from tests.learner.samples import on_policy, random_samples
from tests.learner.several import recipe, several
from tests.learner.test_checkpoints import assert_same_model

SHARE_MB, SLACK_MB = 70, 20


def in_bfloat16(config: Config) -> Config:
    return config.model_copy(update={"model": config.model.model_copy(update={"dtype": "bfloat16"})})


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("is_tied", [True, False])
def test_an_outline_is_filled_with_the_same_model(tmp_path: Path, dtype: str, is_tied: bool) -> None:
    """Buffers that are in no file, settings and shared weights included."""
    folder = saved(tmp_path, layers=2, width=64, vocab=300, is_tied=is_tied)
    whole, outline = load_model(folder, dtype, "cpu"), outline_model(folder, dtype)
    assert outline is not None
    assert sum(p.untyped_storage().nbytes() for p in outline.model.parameters()) < 1000
    outline.vacate()
    outline.model._apply(lambda tensor: torch.empty_like(tensor, device="cpu") if tensor.is_meta else tensor)
    outline.model.tie_weights()
    _fill(outline)
    assert not outline.model.training
    assert outline.model.config.to_dict() == whole.config.to_dict()
    assert outline.model.generation_config.to_dict() == whole.generation_config.to_dict()
    expected = dict(whole.named_parameters()) | dict(whole.named_buffers())
    found = dict(outline.model.named_parameters()) | dict(outline.model.named_buffers())
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name
        assert found[name].dtype == tensor.dtype


def test_a_model_that_transformers_has_to_rename_has_no_outline(tmp_path: Path) -> None:
    folder = saved(tmp_path, layers=1, width=64, vocab=300, is_tied=True)
    weights = {name.removeprefix("model."): tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    load_model(folder, "float32", "cpu")
    assert outline_model(folder, "float32") is None


@pytest.mark.parametrize("lora", ["none", "new", "from a folder"])
def test_shards_are_those_of_the_whole_model(tiny_folder: Path, model: Any, tmp_path: Path, lora: str) -> None:
    """What is published, and the log-probs; with adapters on a base in bfloat16."""
    start, config = tiny_folder, recipe(strategy="fsdp", lora=0 if lora == "none" else 4)
    if lora != "none":
        config = in_bfloat16(config)
    if lora == "from a folder":
        adapted = add_lora(load_model(tiny_folder, "float32", "cpu"), LoraConfig(rank=4, alpha=8.0), seed=7)
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.02)
        start = tmp_path / "adapter"
        adapted.save_pretrained(start)
        for path in tiny_folder.glob("token*"):
            shutil.copy(path, start)
    rows = on_policy(model, random_samples(6))
    with open_group(config, start, pad_id=0) as group:
        group.publish(tmp_path / "whole")
        expected = group.score(rows)
    with several(config, start) as group:
        group.publish(tmp_path / "shards")
        found = group.score(rows)
    assert_same_model(tmp_path / "whole", tmp_path / "shards")
    tolerance = 1e-5 if lora == "none" else 0.05  # shards compute in bfloat16, a whole model does it by autocast
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(one, other, atol=tolerance)


def test_no_process_has_more_than_its_share_and_a_tensor(tmp_path: Path) -> None:
    small = saved(tmp_path / "small", layers=1, width=64, vocab=300, is_tied=False)
    large = saved(tmp_path / "large", layers=10, width=512, vocab=8000, is_tied=False)
    weights = load_file(large / "model.safetensors").values()
    share, largest = sum(tensor.numel() for tensor in weights) * 4 / 2e6, max(t.numel() for t in weights) * 4 / 1e6
    assert share > SHARE_MB
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    command = [sys.executable, "-m", "tests.learner.loading_memory", recipe(strategy="fsdp").model_dump_json()]
    processes = [
        subprocess.Popen([*command, str(small), str(large), str(port), str(rank)], stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    said, _ = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    for found in json.loads(said):
        assert share - 5 < found["after"] / 1e6
        assert found["peak"] / 1e6 < share + largest + SLACK_MB


def saved(folder: Path, *, layers: int, width: int, vocab: int, is_tied: bool) -> Path:
    """A model with random weights in bfloat16, and files that stand for its tokenizer's."""
    shape = Architecture(layers, width, width // 64, 1, 64, 3 * width, vocab, is_tied, 512, 10_000.0)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config_of_shape(shape, vocab)).bfloat16().save_pretrained(folder)
    (folder / "tokenizer.json").write_text("{}")
    return folder
