"""The distillation stage: teachers are found and compared, a run learns from them, and ends the same when killed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from codctl.config.compose import load_config
from codctl.config.schema import BuildConfig, Config, WorldConfig
from codctl.errors import CodctlError, PreflightError, RefusedError
from codctl.models.build import build_folder
from codctl.runs.directory import RunDirectory
from codctl.train.teachers import check_teachers, find_teachers
from tests.train.resuming import RECIPE, codctl, finish, status

BUILD = BuildConfig(layers=1, width=32, heads=2, kv_heads=2, ffn=64, rope_theta=100)
WORLD = WorldConfig(preset="tiny", rendering="compact", length=3)


class Silent:
    def update(self, *_: Any) -> None: ...

    def message(self, text: str) -> None: ...


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A student and a teacher with one tokenizer, and one with another."""
    root = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("student", "teacher")):
        build_folder(BUILD, WORLD, seed, root / name)
    build_folder(BUILD, WorldConfig(family="alchemy", preset="tiny", rendering="compact"), 0, root / "stranger")
    return {name: root / name for name in ("student", "teacher", "stranger")}


def overrides(models: dict[str, Path], teacher: str = "teacher", **more: Any) -> list[str]:
    settings = {
        "model.path": models["student"],
        "distill.teachers": f"[{{families: [frozen_lake], model: {models.get(teacher, teacher)}}}]",
        "warm_start.enabled": "false",
        "train.packs": 4,
        "train.rollouts": 1,
        "train.steps": 4,
        "evaluation.every": 0,
        "evaluation.arms": "[own]",
        "health.look.action": "off",
        **more,
    }
    return [f"{key}={value}" for key, value in settings.items()]


def recipe(folder: Path, models: dict[str, Path], teacher: str = "teacher", **more: Any) -> Config:
    path = folder / "small.yaml"
    path.write_text(RECIPE)
    return load_config(str(path), overrides(models, teacher, **more))


def metrics_of(folder: Path) -> list[dict[str, float]]:
    lines = (folder / "runs/small/metrics.jsonl").read_text().splitlines()
    return [record["metrics"] for record in map(json.loads, lines) if record["phase"] == "train"]


def weights_of(folder: Path) -> bytes:
    return (folder / "runs/small/stages/cod_train/final/model.safetensors").read_bytes()


def test_killed_and_started_again_it_ends_the_same(models: dict[str, Path], tmp_path: Path) -> None:
    """And its numbers are those of a distillation: nothing of rewards, the KL to the teacher falls."""
    full = {"distill.estimator": "full"}
    through, killed = tmp_path / "through", tmp_path / "killed"
    done = finish(through, *overrides(models, **full, **{"evaluation.packs": 2}))
    settings = overrides(models, **full, **{"evaluation.enabled": "false"})
    assert codctl(killed, "in_step_4", *settings).returncode == -9
    assert status(killed) == "died"
    finish(killed, *settings)
    assert weights_of(killed) == weights_of(through)
    assert metrics_of(killed) == metrics_of(through)
    steps = metrics_of(through)
    assert steps[-1]["distill/kl_full"] < steps[0]["distill/kl_full"]
    assert all(one["distill/tokens"] > 0 and one["distill/unscored"] == 0 for one in steps)
    assert not any(name.startswith(("groups/", "advantage_sum/")) for one in steps for name in one)
    [kept] = json.loads(done.stdout)["result"]["kept"]
    assert (kept["family"], kept["teacher"]) == ("frozen_lake", str(models["teacher"]))
    assert "What the student keeps of its teachers" in (through / "runs/small/report.html").read_text()
    _runs_as_teachers(models, through, tmp_path)


def _runs_as_teachers(models: dict[str, Path], finished: Path, tmp_path: Path) -> None:
    """By name, at a step, and by its path."""
    source = finished / "runs/small"
    found = {}
    for number, name in enumerate(
        (f"{source}@2", str(source), str(source / "stages/cod_train/checkpoints/step-000002"))
    ):
        config = recipe(tmp_path, models, name, name=f"other-{number}")
        run = RunDirectory.create_or_continue(tmp_path / "runs", config, recipe="small", command=["codctl", "train"])
        [teacher] = find_teachers(run, config, models["student"], Silent())
        found[number] = teacher.folder
        assert teacher.folder.is_relative_to(source if number == 1 else run.stage("teachers"))
    weights = [(found[number] / "model.safetensors").read_bytes() for number in found]
    assert weights[0] == weights[2] != weights[1]
    assert weights[1] == weights_of(finished)
    with pytest.raises(PreflightError, match="has no saved model '9'"):
        check_teachers(recipe(tmp_path, models, f"{source}@9"), tmp_path / "runs")


def test_a_teacher_that_changes_is_refused(models: dict[str, Path], tmp_path: Path) -> None:
    teacher = tmp_path / "teacher"
    shutil.copytree(models["teacher"], teacher)
    config = recipe(tmp_path, models, str(teacher))
    run = RunDirectory.create_or_continue(tmp_path / "runs", config, recipe="small", command=["codctl", "train"])
    [found] = find_teachers(run, config, models["student"], Silent())
    assert (found.folder, found.is_adapter) == (teacher, False)
    find_teachers(run, config, models["student"], Silent())
    shutil.copy(models["student"] / "model.safetensors", teacher)
    with pytest.raises(RefusedError, match="other weights than when the run began"):
        find_teachers(run, config, models["student"], Silent())


def test_a_teacher_with_other_tokens_is_refused_before_anything_starts(models: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match=r"has another tokenizer: the token .* for the student and .* for it"):
        check_teachers(recipe(tmp_path, models, "stranger"), tmp_path / "runs")
    with pytest.raises(PreflightError, match=r"is no run in .* no folder and no hub id"):
        check_teachers(recipe(tmp_path, models, "./nowhere"), tmp_path / "runs")
    check_teachers(recipe(tmp_path, models), tmp_path / "runs")


@pytest.mark.parametrize(
    ("more", "key", "reason"),
    [
        ({"distill.teachers": "[{families: [alchemy], model: t}]"}, "distill.teachers", "has no teacher"),
        (
            {"distill.teachers": "[{families: [frozen_lake, alchemy], model: t}]"},
            "distill.teachers",
            "alchemy has a teacher and is not trained on",
        ),
        (
            {"distill.teachers": "[{families: [frozen_lake], model: t}, {families: [frozen_lake], model: u}]"},
            "distill.teachers",
            "has 2 teachers",
        ),
        ({"sampling.temperature": 0.7}, "sampling.temperature", "teachers score at temperature 1"),
        ({"distill.mix.reward": 1}, "train.rollouts", "one rollout is its own baseline"),
        ({"distill.weight": "ratio", "distill.estimator": "full"}, "distill.weight", "full does not learn"),
        ({"distill.engine": "vllm", "distill.estimator": "full"}, "distill.estimator", "whole vocabulary"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(
    models: dict[str, Path], tmp_path: Path, more: dict[str, Any], key: str, reason: str
) -> None:
    with pytest.raises(CodctlError) as caught:
        recipe(tmp_path, models, **more)
    assert reason in f"{caught.value.message} {caught.value.hint}"
    assert key in f"{caught.value.where} {caught.value.message}"
