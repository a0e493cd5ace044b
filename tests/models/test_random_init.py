"""Any size with random weights, from its shape alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from codctl.cod.conversation import TemplateChat
from codctl.config.schema import Config
from codctl.errors import PreflightError
from codctl.models.architectures import PUBLISHED, Architecture, Published, of_folder
from codctl.models.build import build_random_folder, config_of, random_model
from codctl.models.load import load_model, load_tokenizer

# As the hub counts what is stored; of tied embeddings 0.6B to 4B store one.
STORED = {
    "Qwen/Qwen3-0.6B": 596_049_920,
    "Qwen/Qwen3-1.7B": 1_720_574_976,
    "Qwen/Qwen3-4B": 4_022_468_096,
    "Qwen/Qwen3-8B": 8_190_735_360,
    "Qwen/Qwen3-14B": 14_768_307_200,
    "Qwen/Qwen3-32B": 32_762_123_264,
    "HuggingFaceTB/SmolLM2-135M-Instruct": 134_515_008,
    "HuggingFaceTB/SmolLM2-360M-Instruct": 361_821_120,
}


@pytest.mark.parametrize("path", STORED)
def test_a_published_shape_has_its_number_of_parameters(path: str) -> None:
    model = random_model(config_of(path), "bfloat16", "meta", 0)
    assert sum(p.numel() for p in model.parameters()) == STORED[path] == PUBLISHED[path].architecture.parameters
    assert {str(p.dtype) for p in model.parameters()} == {"torch.bfloat16"}
    assert {p.device.type for p in model.parameters()} == {"meta"}


def test_tied_embeddings_are_one() -> None:
    model = random_model(config_of("Qwen/Qwen3-0.6B"), "bfloat16", "meta", 0)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert sum(t.numel() for t in model.state_dict().values()) == 751_632_384


def test_a_seed_gives_the_same_weights_again(tiny_folder: Path) -> None:
    config = config_of(str(tiny_folder))
    first, again, other = (random_model(config, "float32", "cpu", seed).state_dict() for seed in (1, 1, 2))
    assert all((first[name] == again[name]).all() for name in first)
    assert any((first[name] != other[name]).any() for name in first)


def test_a_folder_without_weights_is_enough(tiny_folder: Path, tmp_path: Path) -> None:
    """Architecture and tokenizer of the folder, weights of nobody."""
    start = tmp_path / "start"
    shutil.copytree(tiny_folder, start, ignore=shutil.ignore_patterns("*.safetensors"))
    config = Config.model_validate({"seed": 1, "model": {"path": str(start), "init": "random", "dtype": "bfloat16"}})
    build_random_folder(config, tmp_path / "built")
    built, known = load_model(tmp_path / "built", "bfloat16", "cpu"), load_model(tiny_folder, "bfloat16", "cpu")
    shapes = {name: weight.shape for name, weight in known.state_dict().items()}
    assert {name: weight.shape for name, weight in built.state_dict().items()} == shapes
    assert (built.model.embed_tokens.weight != known.model.embed_tokens.weight).any()
    assert load_tokenizer(tmp_path / "built").get_vocab() == load_tokenizer(tiny_folder).get_vocab()
    assert of_folder(tmp_path / "built") == of_folder(tiny_folder)


def test_a_known_hub_id_needs_neither_network_nor_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = Architecture(2, 32, 2, 1, 16, 48, 5000, True, 128, 1e6)
    monkeypatch.setitem(PUBLISHED, "lab/small", Published("0" * 40, small))
    world = {"preset": "tiny", "rendering": "compact"}
    config = Config.model_validate({"world": world, "model": {"path": "lab/small", "init": "random"}})
    build_random_folder(config, tmp_path)
    assert of_folder(tmp_path) == small
    tokenizer: Any = load_tokenizer(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    assert settings["eos_token_id"] == tokenizer.eos_token_id
    chat = TemplateChat(tokenizer)
    assert chat.decode([4999, *chat.encode("up"), 4998]).strip() == "up"  # the model also samples ids without a text


def test_an_unknown_model_is_refused_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PreflightError, match="no folder lab/none") as caught:
        config_of("lab/none", "v1")
    assert caught.value.hint.startswith("hf download lab/none --revision v1 --include '*.json'")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"num_attention_heads": 2, "hidden_size": 8}', "has no num_hidden_layers"),
    ],
)
def test_a_config_that_tells_no_shape(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(PreflightError, match=message):
        of_folder(tmp_path)
