"""A run that is killed anywhere and started again by the same command ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from codctl.runs.directory import RunDirectory

STOPPING = Path(__file__).with_name("stopping.py")

RECIPE = """\
name: small
world: {preset: tiny, rendering: compact, length: 3}
model: {build: {layers: 1, width: 32, heads: 2, kv_heads: 2, ffn: 64, rope_theta: 100}}
sampling: {solve_tokens: 8, update_tokens: 12}
warm_start: {packs: 160, batch_rows: 16, lr: 1e-2}
train: {steps: 5, packs: 2, rollouts: 3, lr: 1e-3, lr_schedule: linear, checkpoint_every: 2}
evaluation: {every: 2, every_packs: 3, packs: 3, arms: [own, none, shuffled], long_length: 0}
tracking: {mlflow: false, trajectories_every: 1}
runtime: {threads: 1, progress_s: 1}
"""
LORA = ("model.lora.rank=2",)


def codctl(folder: Path, place: str, *overrides: str) -> subprocess.CompletedProcess[str]:
    """The same command each time; `place` says where the process is stopped."""
    folder.mkdir(exist_ok=True)
    recipe = folder / "small.yaml"
    recipe.write_text(RECIPE)
    return subprocess.run(
        [
            sys.executable,
            str(STOPPING),
            place,
            "train",
            str(recipe),
            "--runs-dir",
            str(folder / "runs"),
            "--json",
            *overrides,
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )


def outcome(folder: Path, lora: bool = False) -> dict[str, Any]:
    """All of a finished run that must not depend on how it got there."""
    run = folder / "runs" / "small"
    weights = "adapter_model.safetensors" if lora else "model.safetensors"
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {
        "weights": (run / "stages/cod_train/final" / weights).read_bytes(),
        "metrics": [(m["phase"], m["step"], m["metrics"]) for m in metrics],
        "before": (run / "stages/evaluation/before/rows.jsonl").read_text(),
        "after": (run / "stages/evaluation/after/rows.jsonl").read_text(),
        "walkthrough": (run / "stages/evaluation/after/walkthrough.json").read_text(),
        "rollouts": sorted(path.name for path in (run / "stages/cod_train/rollouts").iterdir()),
        "checkpoints": sorted(path.name for path in (run / "stages/cod_train/checkpoints").iterdir()),
    }


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    for name, value in expected.items():
        assert found[name] == value, name


def status(folder: Path) -> str:
    return RunDirectory.open(folder / "runs/small").status()


def finish(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    done = codctl(folder, "nowhere", *overrides)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["result"]["run"]
    return done


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("through")
    finish(folder)
    return outcome(folder)


def test_the_run_taught_the_model_something(uninterrupted: dict[str, Any]) -> None:
    """Otherwise the comparisons below would compare nothing."""
    steps = [metrics for phase, _, metrics in uninterrupted["metrics"] if phase == "train"]
    assert len(steps) == 5
    assert sum(metrics["grad_norm"] > 0 for metrics in steps) >= 4
    assert [(phase, step) for phase, step, _ in uninterrupted["metrics"] if phase == "validation"] == [
        ("validation", 0),
        ("validation", 2),
        ("validation", 4),
    ]
    assert uninterrupted["checkpoints"] == ["step-000004", "step-000005"]


def test_killed_again_and_again_it_ends_the_same(uninterrupted: dict[str, Any], tmp_path: Path) -> None:
    places = (
        "in_warm_start",
        "after_checkpoint_2",
        "in_step_4",
        "in_validation_4",
        "in_checkpoint_4",
        "in_arm_none",
        "in_evaluation",
    )
    for place in places:
        killed = codctl(tmp_path, place)
        assert killed.returncode == -signal.SIGKILL, (place, killed.stderr)
    last = finish(tmp_path)
    assert "Traceback" not in last.stderr
    assert_same(outcome(tmp_path), uninterrupted)
    assert status(tmp_path) == "finished"
    again = finish(tmp_path)  # once more does nothing
    assert "CoD-Train" not in again.stderr
    assert_same(outcome(tmp_path), uninterrupted)


def test_after_ctrl_c_a_broken_checkpoint_falls_back_and_ends_the_same(
    uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    interrupted = codctl(tmp_path, "interrupt_in_step_5")
    assert interrupted.returncode == 130
    assert "Traceback" not in interrupted.stderr
    assert status(tmp_path) == "interrupted"
    weights = tmp_path / "runs/small/stages/cod_train/checkpoints/step-000004/weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    resumed = finish(tmp_path)
    assert "checkpoint passed over: step-000004: weights.safetensors: 1000 bytes, expected" in resumed.stderr
    assert "continuing after step 2" in resumed.stderr
    assert_same(outcome(tmp_path), uninterrupted)


@pytest.mark.slow
def test_with_lora_too(tmp_path: Path) -> None:
    finish(tmp_path / "through", *LORA)
    for place in ("after_checkpoint_2", "in_step_4", "in_evaluation"):
        assert codctl(tmp_path / "killed", place, *LORA).returncode == -signal.SIGKILL
    finish(tmp_path / "killed", *LORA)
    assert_same(outcome(tmp_path / "killed", lora=True), outcome(tmp_path / "through", lora=True))
