"""What is refused before anything starts: by the recipe and its files, and by this machine."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from codctl.config.schema import Config
from codctl.errors import PreflightError
from codctl.train.preflight import check_machine, check_recipe, preflight
from tests.models.damaged_models import make_adapter, other_tokenizer, tie


def config_of(**sections: Any) -> Config:
    return Config.model_validate({"world": {"preset": "tiny", "rendering": "compact"}, **sections})


def model_of(folder: Path, **settings: Any) -> dict[str, Any]:
    return {"path": str(folder), **settings}


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    """A sound model folder to spoil."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "model"))


@pytest.fixture
def adapter(folder: Path, tmp_path: Path) -> Path:
    """A sound adapter folder on top of it."""
    return make_adapter(folder, tmp_path / "adapter")


def test_sound_models_pass(folder: Path, adapter: Path) -> None:
    preflight(config_of(model=model_of(folder)))
    preflight(config_of(model=model_of(adapter)))


def test_a_tokenizer_with_ids_beyond_the_embeddings(folder: Path) -> None:
    other_tokenizer(500)(folder)
    with pytest.raises(
        PreflightError, match=r"not this model's: its id 499 \('.*'\) is beyond the model's 374 emb"
    ) as e:
        check_recipe(config_of(model=model_of(folder)))
    assert e.value.where == str(folder)
    assert "tokenizer files that came with the model" in e.value.hint


def test_an_adapter_with_another_models_tokenizer(folder: Path, adapter: Path) -> None:
    from codctl.models.build import build_tokenizer

    build_tokenizer(["other words entirely"] * 9, 300, 512).save_pretrained(adapter)
    with pytest.raises(PreflightError, match="other tokens than its base model's") as error:
        check_recipe(config_of(model=model_of(adapter)))
    assert error.value.where == str(adapter)


@pytest.mark.parametrize("target", ["lm_head", ".*embed_tokens", ".*(v_proj|lm_head)"])
def test_an_adapter_on_a_tied_head(folder: Path, tiny_folder: Path, target: str) -> None:
    tie(folder)
    lora = {"rank": 4, "target": target}
    with pytest.raises(PreflightError, match="which are one matrix in this model") as error:
        check_recipe(config_of(model=model_of(folder, lora=lora)))
    assert error.value.where == "model.lora.target"
    check_recipe(config_of(model=model_of(folder, lora={"rank": 4, "target": ".*v_proj"})))
    check_recipe(config_of(model=model_of(folder, lora={"rank": 4})))  # all-linear leaves the head out
    check_recipe(config_of(model=model_of(tiny_folder, lora=lora)))


def test_published_models_are_known_to_be_tied_without_their_files() -> None:
    lora = {"rank": 8, "target": "lm_head"}
    with pytest.raises(PreflightError, match="which are one matrix"):
        check_recipe(config_of(model={"path": "Qwen/Qwen3-0.6B", "init": "random", "lora": lora}))
    check_recipe(config_of(model={"path": "Qwen/Qwen3-8B", "init": "random", "lora": lora}))


def test_random_weights_need_a_known_shape(tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match=r"config\.json cannot be read"):
        check_recipe(config_of(model={"path": str(tmp_path), "init": "random"}))


def test_more_generators_than_gpus() -> None:
    engine = {"kind": "vllm", "placement": "disjoint", "gpus": 8}
    with pytest.raises(PreflightError, match="8 of 8 GPUs generate, which leaves none to train") as error:
        check_recipe(config_of(engine=engine, cluster={"gpus_per_node": 8}))
    assert (error.value.where, error.value.hint.partition(" ")[0]) == ("engine.gpus", "engine.gpus=7")


def test_vllm_must_be_installed_unless_it_runs_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codctl.engines.vllm.settings.find_spec", lambda name: None)
    config = config_of(engine={"kind": "vllm"})
    check_recipe(config)  # a dry run needs none
    with pytest.raises(PreflightError, match="vllm is not installed") as error:
        check_machine(config)
    assert error.value.hint.startswith("pip install 'codctl[vllm]'")
    check_machine(config_of(engine={"kind": "vllm", "servers": ["http://gpu1:8000"]}))


def test_gpus_must_be_there_where_the_run_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    config = config_of(cluster={"gpus_per_node": 2})
    check_recipe(config)
    with pytest.raises(PreflightError, match="the recipe asks for 2 GPUs, torch sees 1 here") as error:
        check_machine(config)
    assert error.value.where == "cluster.gpus_per_node"
    check_machine(config_of(cluster={"gpus_per_node": 2}, model={"device": "cpu"}))


def test_flash_attention_must_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = config_of(model={"attention": "flash_attention_2"}, tracking={"mlflow": False})
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(PreflightError, match="flash_attention_2 runs on GPUs"):
        check_machine(wanted)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(PreflightError, match="flash-attn, which is not installed"):
        check_machine(wanted)


def test_a_hub_id_that_is_not_here_stops_a_run_but_no_dry_run(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str | None]] = []
    monkeypatch.setattr("codctl.models.hub.check_reachable", lambda path, revision: asked.append((path, revision)))
    config = config_of(model={"path": "nobody/nothing", "revision": "v1"})
    check_recipe(config)
    assert not asked
    check_machine(config)
    assert asked == [("nobody/nothing", "v1")]


def test_a_model_that_no_gpu_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    config = config_of(model={"path": "Qwen/Qwen3-32B", "init": "random"}, cluster={"gpus_per_node": 1})
    check_recipe(config)
    with pytest.raises(PreflightError, match="GiB") as error:
        check_machine(config)
    assert error.value.hint
