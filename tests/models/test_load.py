"""Folders of models and adapters."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from codctl.config.schema import Config, LoraConfig
from codctl.errors import PreflightError
from codctl.models.load import add_lora, check_folder, load_chat, load_model, named_stops
from codctl.train.setup import Speaker, export, load_speaker
from tests.learner.samples import on_policy, random_samples
from tests.learner.test_learner import new_learner, weights_of

IDS = torch.tensor([[3, 40, 41, 42, 50]])


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return model(input_ids=IDS).logits


def adapted(tiny_folder: Path, seed: int = 3) -> Any:
    return add_lora(load_model(tiny_folder, "float32", "cpu"), LoraConfig(rank=4), seed)


def test_new_adapters_change_nothing_and_their_seed_decides(tiny_folder: Path, model: Any) -> None:
    torch.testing.assert_close(logits(adapted(tiny_folder)), logits(model))
    same, other = weights_of(adapted(tiny_folder)), weights_of(adapted(tiny_folder, seed=4))
    for name, weight in weights_of(adapted(tiny_folder)).items():
        assert torch.equal(weight, same[name])
        assert torch.equal(weight, other[name]) == ("lora_A" not in name)


def test_only_the_adapters_train(tiny_folder: Path) -> None:
    model = adapted(tiny_folder)
    before = weights_of(model)
    new_learner(model, lr=1e-2).learn(on_policy(model, random_samples(6)), 1)
    moved = {name for name, weight in weights_of(model).items() if not torch.equal(weight, before[name])}
    assert moved
    assert all("lora_" in name for name in moved)
    assert {name for name, p in model.named_parameters() if p.requires_grad} >= moved


def test_an_adapter_folder_loads_on_its_base(tiny_folder: Path, tmp_path: Path) -> None:
    model = adapted(tiny_folder)
    new_learner(model, lr=1e-2).learn(on_policy(model, random_samples(6)), 1)
    with torch.no_grad():
        plain = logits(load_model(tiny_folder, "float32", "cpu"))
    model.save_pretrained(tmp_path / "adapter", safe_serialization=True)
    loaded = load_model(tmp_path / "adapter", "float32", "cpu")
    torch.testing.assert_close(logits(loaded), logits(model))
    assert not torch.allclose(logits(loaded), plain)


def test_an_exported_adapter_can_be_talked_to(tiny_folder: Path, tmp_path: Path) -> None:
    """What `train` does at its end and `eval` at its beginning, with model.lora.rank set."""
    speaker = load_speaker(tiny_folder, "float32", "cpu")
    model = add_lora(speaker.model, LoraConfig(rank=4), 0)
    export(Speaker(model, speaker.tokenizer, speaker.chat), Config(), tmp_path)
    again = load_speaker(tmp_path, "float32", "cpu")
    assert again.max_tokens == speaker.max_tokens
    torch.testing.assert_close(logits(again.model), logits(model))


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config.json", "the model folder has no config.json"),
        ("model.safetensors", "the model folder has no model.safetensors"),
        ("tokenizer*", "the model folder has no tokenizer"),
    ],
)
def test_what_a_model_folder_must_have(tiny_folder: Path, tmp_path: Path, missing: str, message: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    check_folder(folder)
    for path in folder.glob(missing):
        path.unlink()
    with pytest.raises(PreflightError) as caught:
        check_folder(folder)
    assert caught.value.message.startswith(message)
    assert caught.value.where == str(folder)


def test_no_folder_at_all(tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match="no model folder at"):
        check_folder(tmp_path / "nowhere")


def test_an_adapter_whose_base_is_gone(tiny_folder: Path, tmp_path: Path) -> None:
    adapted(tiny_folder).save_pretrained(tmp_path / "adapter", safe_serialization=True)
    path = tmp_path / "adapter" / "adapter_config.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({**settings, "base_model_name_or_path": str(tmp_path / "gone")}))
    with pytest.raises(PreflightError, match="base model is missing") as caught:
        load_model(tmp_path / "adapter", "float32", "cpu")
    assert caught.value.where == str(tmp_path / "adapter")


def test_a_pad_token_that_also_ends_turns_learns(tiny_folder: Path, tmp_path: Path) -> None:
    """transformers takes the pad token's row out of training, also where a template ends turns with that token."""
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text())
    stop = config["eos_token_id"]
    (folder / "config.json").write_text(json.dumps({**config, "pad_token_id": stop}))
    model = load_model(folder, "float32", "cpu")
    ids = torch.tensor([[5, stop, 7, stop]])
    model(input_ids=ids, labels=ids).loss.backward()
    assert model.get_input_embeddings().weight.grad[stop].abs().sum() > 0


def test_stop_tokens_that_the_files_of_a_model_name(tiny_folder: Path, tmp_path: Path) -> None:
    """generation_config.json before config.json, an adapter's base for the adapter; the template's own comes first."""
    folder, adapter = Path(shutil.copytree(tiny_folder, tmp_path / "model")), tmp_path / "adapter"
    own = load_chat(tiny_folder).stop_ids[0]
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(folder)}))
    (folder / "config.json").write_text(json.dumps({"eos_token_id": 9}))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [7, own, 8]}))
    assert named_stops(folder) == named_stops(adapter) == (7, own, 8)
    assert load_chat(folder).stop_ids == (own, 7, 8)
    (folder / "generation_config.json").write_text("{}")
    assert named_stops(folder) == (9,)
    (folder / "generation_config.json").unlink()
    (folder / "config.json").write_text("{}")
    assert named_stops(folder) == ()
