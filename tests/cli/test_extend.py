"""What may change on a run that exists, and what the same run makes of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from codctl.config.compose import load_config
from codctl.files.seal import read_info
from codctl.runs.directory import RunDirectory
from codctl.train.cod_train import Training

LEARNING = """\
name: learning
world: {preset: tiny, rendering: compact, length: 3}
model: {build: {layers: 1, width: 32, heads: 2, kv_heads: 2, ffn: 64, rope_theta: 100}}
sampling: {solve_tokens: 8, update_tokens: 12}
warm_start: {packs: 160, batch_rows: 16, lr: 1e-2}
train: {steps: 2, packs: 2, rollouts: 3, lr: 1e-3, checkpoint_every: 2}
evaluation: {packs: 2, arms: [own], long_length: 0}
tracking: {mlflow: false, trajectories_every: 1}
runtime: {threads: 1, progress_s: 1}
"""


@pytest.fixture
def run(home: Path, trained) -> Path:
    """A finished run of two steps, to be changed."""
    shutil.copytree(trained.runs_dir, home / "runs")
    shutil.copy(trained.recipe, home)
    return home / "runs" / "micro"


def config_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "config.json").read_text())["config"]
    return found


def sealed_as(run: Path, name: str) -> dict[str, Any]:
    return read_info(run / "stages/evaluation" / name)


def weights(run: Path) -> bytes:
    return (run / "stages/cod_train/final/model.safetensors").read_bytes()


def metrics(run: Path) -> list[Any]:
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [(one["phase"], one["step"], one["metrics"]) for one in records]


def test_more_steps_go_on_from_the_checkpoint_and_end_as_a_longer_run(cli, home: Path) -> None:
    (home / "learning.yaml").write_text(LEARNING)
    run, whole = (home / "runs" / name for name in ("learning", "whole"))
    assert cli("train", "learning.yaml").code == 0
    before = (run / "stages/evaluation/before/rows.parquet").stat().st_mtime_ns
    longer = cli("train", "learning.yaml", "train.steps=4")
    assert longer.code == 0, longer.err
    assert "continuing after step 2" in longer.err
    assert cli("train", "learning.yaml", "train.steps=4", "--name", "whole").code == 0
    assert [numbers["grad_norm"] > 0 for phase, _, numbers in metrics(whole) if phase == "train"].count(True) >= 3
    assert weights(run) == weights(whole)
    assert metrics(run) == metrics(whole)
    rows = "stages/evaluation/after/rows.parquet"
    assert (run / rows).read_bytes() == (whole / rows).read_bytes()
    assert sealed_as(run, "after") == sealed_as(whole, "after")
    assert sealed_as(run, "after")["step"] == 4
    [earlier] = (run / "stages/earlier").iterdir()
    assert earlier.name.startswith("after-step-000002-")
    assert (run / "stages/evaluation/before/rows.parquet").stat().st_mtime_ns == before
    steps = [config_of(run / "attempts" / number)["train"]["steps"] for number in ("001", "002")]
    assert steps == [2, 4]
    fewer = cli("train", "learning.yaml")
    assert fewer.code == 6
    assert "has learned 4 steps already, train.steps=2 is fewer" in fewer.err
    assert "--name OTHER" in fewer.err


def test_an_extension_that_dies_is_finished_by_resume(cli, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Training._step

    def dies_at_4(self: Training, step: int) -> Any:
        if step == 4:
            self._group.await_saved()  # a second Ctrl-C gives up the checkpoint that is being written
            raise KeyboardInterrupt
        return real(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "_step", dies_at_4)
        assert cli("train", "micro.yaml", "train.steps=4").code == 130
    assert sealed_as(run, "after")["step"] == 2
    assert read_info(run / "stages/cod_train/final")["step"] == 2
    resumed = cli("resume", "micro")
    assert resumed.code == 0, resumed.err
    assert "continuing after step 3" in resumed.err
    assert sealed_as(run, "after")["step"] == 4


def test_other_evaluations_of_the_same_model_are_played_anew(cli, run: Path) -> None:
    model = weights(run)
    outcome = cli("train", "micro.yaml", "evaluation.packs=3", "health.entropy.limit=0.5", "--json")
    assert outcome.code == 0, outcome.err
    assert "CoD-Train 1" not in outcome.err
    assert weights(run) == model
    for name in ("before", "after"):
        assert json.loads((run / "stages/evaluation" / name / "result.json").read_text())["parts"][0]["packs"] == 3
    assert len(list((run / "stages/earlier").iterdir())) == 2
    off = cli("train", "micro.yaml", "evaluation.enabled=false")
    assert off.code == 0, off.err
    assert sealed_as(run, "after")["step"] == 2


def test_a_schedule_over_the_length_asks_for_extend(cli, home: Path, trained) -> None:
    recipe = home / "linear.yaml"
    recipe.write_text(trained.recipe.read_text().replace("lr: 1e-3", "lr: 1e-3, lr_schedule: linear"))
    assert cli("train", "linear.yaml", "evaluation.enabled=false").code == 0
    refused = cli("train", "linear.yaml", "train.steps=4")
    assert refused.code == 6
    assert "linear over 2 steps, it was 0.0005 at step 2; over 4 steps, it goes on with 0.0005" in refused.err
    assert "--extend" in refused.err
    assert cli("train", "linear.yaml", "train.steps=4", "--dry-run").code == 6
    extended = cli("train", "linear.yaml", "train.steps=4", "evaluation.enabled=false", "--extend")
    assert extended.code == 0, extended.err
    assert "CoD-Train 4/4" in extended.err


def directory(home: Path, *overrides: str, extend: bool = False) -> RunDirectory:
    config = load_config("micro.yaml", overrides)
    return RunDirectory.create_or_continue(home / "runs", config, recipe="micro.yaml", command=[], extend=extend)


@pytest.mark.parametrize(
    "change",
    [
        "train.steps=5",
        "evaluation.arms=[own]",
        "evaluation.every=1",
        "health.entropy.action=off",
        "health.entropy.action=stop",
        "health.grad_norm.limit=1",
        "health.most_skips=3",
    ],
)
def test_changes_that_a_run_takes(home: Path, run: Path, change: str) -> None:
    found = directory(home, change)
    assert found.status() == "finished"
    found.store_config()
    assert found.status() == "planned"  # until an attempt has made what it asks for


@pytest.mark.parametrize(
    "change", ["train.lr=1e-4", "health.entropy.action=skip", "health.non_finite.action=skip", "world.length=2"]
)
def test_changes_that_make_another_run(cli, run: Path, change: str) -> None:
    outcome = cli("train", "micro.yaml", change)
    assert outcome.code == 6
    assert "was made with other settings" in outcome.err
    assert "--name OTHER" in outcome.err
