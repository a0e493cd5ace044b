"""Which weights each step is played with, and that an engine apart gets exactly those, also after a kill."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codctl.config.schema import EngineConfig
from codctl.engines.weights_folder import remove_abandoned
from codctl.files import lock
from codctl.files.lock import RunLock
from codctl.train.schedule import version_for
from tests.train.resuming import assert_same, codctl, finish, outcome

LATE = ("engine.sync_every=3", "train.steps=6")


@pytest.mark.parametrize(
    ("settings", "versions"),
    [
        ({}, [0, 1, 2, 3, 4, 5]),
        ({"sync_every": 4}, [0, 0, 0, 0, 4, 4, 4, 4, 8]),
        ({"overlap": True}, [0, 0, 1, 2, 3, 4]),
        ({"sync_every": 2, "overlap": True}, [0, 0, 0, 2, 2, 4, 4, 6]),
        ({"sync_every": 2, "overlap": True, "lead": 1}, [0, 0, 0, 0, 0, 2, 2, 4, 4, 6]),
    ],
)
def test_the_schedule(settings: dict[str, Any], versions: list[int]) -> None:
    engine = EngineConfig(**settings)
    assert [version_for(step, engine) for step in range(1, len(versions) + 1)] == versions


@given(st.integers(1, 30), st.booleans(), st.integers(0, 3), st.integers(1, 200))
def test_no_row_is_staler_than_the_recipe_says(every: int, overlap: bool, lead: int, step: int) -> None:
    engine = EngineConfig(sync_every=every, overlap=overlap, lead=lead * overlap, max_staleness=200)
    age = step - 1 - version_for(step, engine)
    assert 0 <= age <= engine.oldest
    assert age > 0 or not (overlap and step > 1)
    assert engine.oldest in [number - 1 - version_for(number, engine) for number in range(200, 200 + every)]


def ages(folder: Path) -> dict[int, set[float]]:
    """Staleness of the rows of each step, as the stored rollouts have it."""
    stored = sorted((folder / "runs/small/stages/cod_train/rollouts").iterdir())
    return {int(path.stem[-6:]): set(pq.read_table(path)["staleness"].to_pylist()) for path in stored}


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder, memory = tmp_path_factory.mktemp("late"), tmp_path_factory.mktemp("memory")
    finish(folder, *LATE, f"engine.weights_dir='{memory}'")
    assert not list(memory.iterdir())
    assert ages(folder) == {1: {0.0}, 2: {1.0}, 3: {2.0}, 4: {0.0}, 5: {1.0}, 6: {2.0}}
    return outcome(folder)


def test_steps_between_two_updates_are_played_with_the_older_weights(late: dict[str, Any]) -> None:
    steps = [metrics for phase, _, metrics in late["metrics"] if phase == "train"]
    assert [metrics["staleness/max"] for metrics in steps] == [0, 1, 2, 0, 1, 2]
    assert all(metrics["logprob_gap/max"] < 1e-4 for metrics in (steps[0], steps[3]))
    assert all(metrics["logprob_gap/max"] > 1e-3 for metrics in (steps[2], steps[5]))


def test_killed_between_two_updates_it_ends_the_same(late: dict[str, Any], tmp_path: Path) -> None:
    for place in ("after_checkpoint_2", "in_validation_4"):
        assert codctl(tmp_path, place, *LATE).returncode == -signal.SIGKILL
    finish(tmp_path, *LATE)
    assert_same(outcome(tmp_path), late)


def test_killed_in_the_middle_of_a_wave_that_is_played_ahead_it_ends_the_same(tmp_path: Path) -> None:
    ahead = ("engine.overlap=true", "engine.sync_every=2", "engine.lead=1", "model.lora.rank=2", "train.steps=9")
    finish(tmp_path / "through", *ahead)
    assert ages(tmp_path / "through") == {n: {float(age)} for n, age in enumerate((0, 1, 2, 3, 4, 3, 4, 3, 4), 1)}
    for place in ("in_step_4", "in_wave_of_step_6"):
        assert codctl(tmp_path / "killed", place, *ahead).returncode == -signal.SIGKILL
    finish(tmp_path / "killed", *ahead)
    assert_same(outcome(tmp_path / "killed", lora=True), outcome(tmp_path / "through", lora=True))
    assert not (tmp_path / "killed/runs/small/stages/cod_train/waves").exists()


def test_rows_that_are_too_old_are_refused_before_anything_starts(tmp_path: Path) -> None:
    refused = codctl(tmp_path, "nowhere", "engine.sync_every=4", "engine.max_staleness=2")
    assert refused.returncode == 2
    assert "make rows 3 steps old, max_staleness=2 drops them" in refused.stdout


def test_weights_of_runs_that_were_killed_are_removed_from_memory(tmp_path: Path) -> None:
    names = ("killed", "running", "deleted", "served")
    hosts = {**dict.fromkeys(names, socket.gethostname()), "other": "x"}
    for name in (*hosts, "unknown"):
        root = tmp_path / f"codctl-{os.getuid()}-{name}"
        root.mkdir()
        if name in hosts:
            (root / "owner").write_text(f"{hosts[name]}\n{tmp_path / name}")
    for name in ("killed", "running"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lock").touch()
    lock.share(tmp_path / f"codctl-{os.getuid()}-served" / "owner")  # by a process of the run on another of its nodes
    with RunLock(tmp_path / "running" / "lock"):
        remove_abandoned(tmp_path)
    left = sorted(path.name.split("-")[-1] for path in tmp_path.glob("codctl-*"))
    assert left == ["other", "running", "served", "unknown"]
