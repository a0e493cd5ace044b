"""A run that is killed anywhere and started again by the same command ends as if nothing had happened."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from codctl.train.rollout_store import read_rollouts
from tests.train.resuming import assert_same, codctl, finish, outcome, status

LORA = ("model.lora.rank=2",)


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


def test_a_look_at_the_model_is_recorded_once_and_changes_nothing(
    uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    looks = [metrics for phase, _, metrics in uninterrupted["metrics"] if phase == "look"]
    assert [metrics["episodes/solve"] for metrics in looks] == [48.0]
    finish(tmp_path, "health.look.action=off")
    found = outcome(tmp_path)
    assert not any(phase == "look" for phase, _, _ in found["metrics"])
    for name in ("weights", "before", "after"):
        assert found[name] == uninterrupted[name]


def test_killed_again_and_again_it_ends_the_same(uninterrupted: dict[str, Any], tmp_path: Path) -> None:
    places = (
        "in_warm_start",
        "after_checkpoint_2",
        "in_step_4",
        "beside_checkpoint_4",
        "in_validation_4",
        "in_checkpoint_4",
        "in_arm_none",
        "in_evaluation",
    )
    said = {}
    for place in places:
        killed = codctl(tmp_path, place)
        assert killed.returncode == -signal.SIGKILL, (place, killed.stderr)
        said[place] = killed.stderr
    assert "continuing after step 2" in said["in_validation_4"]  # the one of step 4 was not sealed
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
    interrupted = codctl(tmp_path, "interrupt_in_step_3")
    assert interrupted.returncode == 130
    assert "Traceback" not in interrupted.stderr
    assert status(tmp_path) == "interrupted"
    weights = tmp_path / "runs/small/stages/cod_train/checkpoints/step-000003/rank-00000-of-00001.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    resumed = finish(tmp_path)
    assert "checkpoint skipped: step-000003: rank-00000-of-00001.safetensors: 1000 bytes, expected" in resumed.stderr
    assert "continuing after step 2" in resumed.stderr
    assert_same(outcome(tmp_path), uninterrupted)


def test_in_a_world_that_remembers_and_with_a_penalty_for_leaving_the_start_model_too(tmp_path: Path) -> None:
    short = (
        "world.family=grid_navigation",
        "world.variant=environment",
        "train.loss.kl=0.5",
        "train.steps=3",
        "evaluation.every=0",
        "health.look.action=off",
    )
    finish(tmp_path / "through", *short)
    assert codctl(tmp_path / "killed", "after_checkpoint_2", *short).returncode == -signal.SIGKILL
    assert "continuing after step 2" in finish(tmp_path / "killed", *short).stderr
    expected = outcome(tmp_path / "through")
    assert [metrics["kl/start"] > 0 for phase, _, metrics in expected["metrics"] if phase == "train"] == [
        False,
        True,
        True,
    ]
    assert_same(outcome(tmp_path / "killed"), expected)
    stored = read_rollouts(tmp_path / "killed/runs/small/stages/cod_train/rollouts/step-000003.parquet")
    later = [row["observations"][0] for row in stored if row["kind"] == "solve" and row["position"] > 0]
    assert any("known" in text for text in later)  # the world shows what was seen before


@pytest.mark.slow
def test_with_lora_too(tmp_path: Path) -> None:
    finish(tmp_path / "through", *LORA)
    for place in ("after_checkpoint_2", "in_step_4", "in_evaluation"):
        assert codctl(tmp_path / "killed", place, *LORA).returncode == -signal.SIGKILL
    finish(tmp_path / "killed", *LORA)
    assert_same(outcome(tmp_path / "killed", lora=True), outcome(tmp_path / "through", lora=True))
