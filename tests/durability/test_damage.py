"""What was sealed and then damaged on disk is noticed, said, and made again, or an older one is used: the same end."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.durability import small_run
from tests.durability.conftest import WITHOUT_MLFLOW
from tests.durability.processes import Processes

Outcome = Callable[[Path], dict[str, Any]]


def flip(path: Path) -> None:
    """One bit, in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def remove(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


SHARD = "rank-00000-of-00001.safetensors"
CHECKPOINTS = [
    (flip, SHARD, "content differs from what was sealed"),
    (truncate, SHARD, "bytes, expected"),
    (remove, SHARD, f"{SHARD}: missing"),
    (remove, "COMPLETE.json", "missing COMPLETE.json"),
    (empty, "COMPLETE.json", "COMPLETE.json cannot be read"),
    (flip, "COMPLETE.json", "COMPLETE.json cannot be read"),
]


def go_on(server: Processes, runs: Path) -> str:
    """The same command; returns what it said."""
    child = server.run(*small_run.arguments(runs, WITHOUT_MLFLOW))
    assert child.code(0) == 0, child.err() + child.out()
    assert "Traceback" not in child.err()
    return child.err()


def test_damaged_stages_are_made_again(
    server: Processes, runs: Path, outcome: Outcome, expected: dict[str, Any]
) -> None:
    stages = small_run.folder(runs) / "stages"
    remove(stages / "model" / "tokenizer.json")
    truncate(stages / "warm_start" / "model" / "model.safetensors")
    empty(stages / "cod_train" / "final" / "COMPLETE.json")
    flip(stages / "evaluation" / "before" / "rows.parquet")
    remove(stages / "evaluation" / "after" / "COMPLETE.json")
    said = go_on(server, runs)
    for name, problem in {
        "model": "tokenizer.json: missing",
        "warm_start": "model/model.safetensors: ",
        "final": "COMPLETE.json cannot be read",
        "before": "rows.parquet: content differs",
    }.items():
        assert f"{name} is damaged and will be made again: {problem}" in said
    assert "continuing after step 5" in said  # the checkpoints are whole
    assert outcome(runs) == expected


@pytest.mark.slow
@pytest.mark.parametrize(("damage", "file", "problem"), CHECKPOINTS)
def test_every_kind_of_damage_to_a_checkpoint(
    damage: Callable[[Path], None],
    file: str,
    problem: str,
    server: Processes,
    runs: Path,
    outcome: Outcome,
    expected: dict[str, Any],
) -> None:
    checkpoint_is_passed_over(server, runs, damage, file, problem)
    assert outcome(runs) == expected


@pytest.mark.slow
def test_with_no_whole_checkpoint_training_begins_again(
    server: Processes, runs: Path, outcome: Outcome, expected: dict[str, Any]
) -> None:
    train = small_run.folder(runs) / "stages" / "cod_train"
    shutil.rmtree(train / "final")
    for checkpoint in (train / "checkpoints").iterdir():
        flip(checkpoint / SHARD)
    said = go_on(server, runs)
    assert said.count("checkpoint skipped") == 2
    assert "continuing after" not in said
    assert outcome(runs) == expected


def checkpoint_is_passed_over(
    server: Processes, runs: Path, damage: Callable[[Path], None], file: str, problem: str
) -> None:
    train = small_run.folder(runs) / "stages" / "cod_train"
    shutil.rmtree(train / "final")
    damage(train / "checkpoints" / "step-000005" / file)
    said = go_on(server, runs)
    assert "checkpoint skipped: step-000005: " in said
    assert problem in said
    assert "continuing after step 4" in said
