"""LoRA on a pretrained model: one adapter for warm start and CoD-Train, on the model that the recipe names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from codctl.config.schema import Config
from codctl.models.load import load_model
from codctl.pipeline.pipeline import run_training
from codctl.runs.directory import RunDirectory
from codctl.runs.fork import fork
from codctl.train.saved_models import lay_out, saved_models
from codctl.train.setup import load_speaker

ADAPTER = "adapter_model.safetensors"


def recipe(base: Path, name: str = "one", **sections: Any) -> Config:
    return Config.model_validate(
        {
            "name": name,
            "world": {"preset": "tiny", "rendering": "compact", "length": 2},
            "model": {"path": str(base), "lora": {"rank": 8, "alpha": 32}},
            "sampling": {"solve_tokens": 8, "update_tokens": 12},
            "warm_start": {"packs": 200, "batch_rows": 8, "lr": 1e-2},
            "train": {"steps": 2, "packs": 4, "rollouts": 4, "lr": 1e-3, "checkpoint_every": 1},
            "evaluation": {"enabled": False},
            "tracking": {"mlflow": False},
            "runtime": {"threads": 1},
            **sections,
        }
    )


def train(root: Path, config: Config) -> RunDirectory:
    run = RunDirectory.create_or_continue(root, config, recipe="r.yaml", command=["codctl"])
    with run.start_attempt():
        run_training(config, run, None)
    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("adapters")


@pytest.fixture(scope="module")
def run(runs: Path, tiny_folder: Path) -> RunDirectory:
    return train(runs, recipe(tiny_folder))


def adapter(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / ADAPTER)


def distance(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    return max(float((one[name] - other[name]).abs().max()) for name in one | other)


def test_the_warm_start_is_an_adapter_that_cod_train_continues(run: RunDirectory, tiny_folder: Path) -> None:
    warm, final = run.stage("warm_start") / "model", run.stage("cod_train") / "final"
    assert not list(run.path.rglob("model.safetensors"))  # no copy of the base
    for folder in (warm, final):
        assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == str(tiny_folder)
    up = {name: tensor for name, tensor in adapter(warm).items() if "lora_B" in name}  # PEFT's are 0 at first
    assert min(float(tensor.abs().max()) for tensor in up.values()) > 1e-3
    assert 0 < distance(adapter(warm), adapter(final)) < 0.1
    assert not run.stage("warm_start_steps").exists()


def test_the_card_names_the_base_alone(run: RunDirectory, tiny_folder: Path) -> None:
    card = (run.stage("cod_train") / "final" / "README.md").read_text()
    assert f"A PEFT adapter for {tiny_folder.name}, trained" in card
    assert "keep the two" not in card


def test_final_and_checkpoint_are_the_same_model(run: RunDirectory, tmp_path: Path) -> None:
    """A checkpoint is laid out on the adapter that its training started from."""
    [checkpoint] = [m for m in saved_models(run, run.config()) if m.checkpoint and m.step == 2]
    lay_out(checkpoint, run.config(), tmp_path / "two")
    final = run.stage("cod_train") / "final"
    assert distance(adapter(tmp_path / "two"), adapter(final)) == 0
    ids = torch.tensor([[3, 40, 41, 42, 50]])
    with torch.no_grad():
        found = [load_speaker(f, "float32", "cpu").model(input_ids=ids).logits for f in (tmp_path / "two", final)]
    assert torch.equal(*found)


def test_a_stopped_run_and_a_fork_continue_the_adapter(run: RunDirectory, runs: Path, tiny_folder: Path) -> None:
    final = run.stage("cod_train") / "final"
    forked = fork(run, runs, recipe(tiny_folder, "forked"), recipe="r.yaml", command=["codctl"])
    shutil.rmtree(forked.stage("cod_train") / "checkpoints")
    shutil.copytree(
        run.stage("cod_train") / "checkpoints" / "step-000001", forked.stage("cod_train") / "checkpoints/step-000001"
    )
    train(runs, recipe(tiny_folder, "forked"))
    assert distance(adapter(forked.stage("cod_train") / "final"), adapter(final)) == 0


def test_another_run_takes_the_same_warm_start(run: RunDirectory, runs: Path, tiny_folder: Path) -> None:
    other = train(runs, recipe(tiny_folder, "other", train={"enabled": False}))
    assert distance(adapter(other.stage("warm_start") / "model"), adapter(run.stage("warm_start") / "model")) == 0
    assert "of another run" in other.log_path(1).read_text()


def test_a_run_with_a_full_warm_start_goes_on_with_an_adapter_on_that(
    run: RunDirectory, runs: Path, tiny_folder: Path
) -> None:
    """As older versions made it."""
    from codctl.files.seal import sealing

    config = recipe(tiny_folder, "older")
    older = RunDirectory.create_or_continue(runs, config, recipe="r.yaml", command=["codctl"])
    with sealing(older.stage("warm_start")) as temp:
        shutil.copytree(tiny_folder, temp / "model")
        (temp / "result.json").write_text('{"losses": []}')
    train(runs, config)
    final = older.stage("cod_train") / "final"
    assert json.loads((final / "adapter_config.json").read_text())["base_model_name_or_path"] == str(
        older.stage("warm_start") / "model"
    )
    assert "fine-tune of all its weights" in (final / "README.md").read_text()
    assert load_model(final, "float32", "cpu")


def test_a_model_that_codctl_builds_is_first_trained_fully(runs: Path) -> None:
    build = {"layers": 1, "width": 16, "heads": 2, "kv_heads": 2, "ffn": 32}
    built = train(runs, recipe(Path(), "built", model={"build": build, "lora": {"rank": 2}}))
    assert (built.stage("warm_start") / "model" / "model.safetensors").is_file()
    assert (built.stage("cod_train") / "final" / ADAPTER).is_file()
