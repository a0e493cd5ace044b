"""A disk that fills up: one message, nothing half-written, and the same command goes on once there is room."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.durability import small_run
from tests.durability.conftest import WITHOUT_MLFLOW
from tests.durability.processes import Child, Processes

Outcome = Callable[[Path], dict[str, Any]]
ROOM_MB = 16


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, which is really full when it is full."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={ROOM_MB}m", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def unfinished(runs: Path, *gone: str) -> None:
    """Take results away, so that there is something to do."""
    for name in gone:
        shutil.rmtree(small_run.folder(runs) / "stages" / name)


def assert_said_and_whole(child: Child, runs: Path, what: str) -> None:
    """One message with a way out, and not a torn line or hidden leftover in the run."""
    assert child.code(0) in (3, 4), child.err()
    error = json.loads(child.out())["error"]
    assert what in error["message"]
    assert error["hint"] == "free some space and run the same command again"
    assert "Traceback" not in child.err()
    run = small_run.folder(runs)
    assert not [path.name for path in run.rglob(".*.tmp-*")]
    if (run / "metrics.jsonl").exists():
        small_run.metrics(run)  # no torn line
    for path in run.rglob("*.json"):
        if path.stat().st_size or path.parent == run:
            json.loads(path.read_text())


def test_a_file_that_must_not_grow(server: Processes, runs: Path, outcome: Outcome, expected: dict[str, Any]) -> None:
    """RLIMIT_FSIZE makes the kernel refuse large writes, anywhere and without privileges."""
    unfinished(runs, "cod_train/final", "cod_train/checkpoints/step-000005", "evaluation/after")
    child = server.run(*small_run.arguments(runs, WITHOUT_MLFLOW), fsize=50_000)
    assert_said_and_whole(child, runs, "the file is too big")
    assert (small_run.folder(runs) / "stages/cod_train/checkpoints/step-000004/COMPLETE.json").is_file()
    assert server.run(*small_run.arguments(runs, WITHOUT_MLFLOW)).code(0) == 0
    assert outcome(runs) == expected


# Kilobytes that are left: from nothing at all to room for the first stage, then for some of the others.
@pytest.mark.slow
@pytest.mark.parametrize("left_kb", [0, 8, 40, 100, 200, 400, 700, 1000, 1400])
def test_a_full_disk(
    left_kb: int, small_disk: Path, server: Processes, outcome: Outcome, expected: dict[str, Any]
) -> None:
    filler = small_disk / "filler"
    _fill(filler, left_kb)
    child = server.run(*small_run.arguments(small_disk / "runs", WITHOUT_MLFLOW))
    if child.code(0) != 0:
        assert_said_and_whole(child, small_disk / "runs", "the disk is full")
    filler.unlink()
    again = server.run(*small_run.arguments(small_disk / "runs", WITHOUT_MLFLOW))
    assert again.code(0) == 0, again.err() + again.out()
    assert outcome(small_disk / "runs") == expected


@pytest.mark.slow
def test_a_disk_that_fills_up_while_a_checkpoint_is_written(
    small_disk: Path, server: Processes, outcome: Outcome, expected: dict[str, Any]
) -> None:
    filler = small_disk / "filler"
    for attempt in range(5):  # on a busy machine a checkpoint may come and the run end before they are seen
        runs = small_disk / f"runs-{attempt}"
        child = server.start(*small_run.arguments(runs, WITHOUT_MLFLOW))
        checkpoints = small_run.folder(runs) / "stages" / "cod_train" / "checkpoints"
        while not child.has_ended(0.001) and not list(checkpoints.glob("*step-000002*")):
            pass
        _fill(filler, 0)
        if child.code(300):
            break
        filler.unlink()
    assert_said_and_whole(child, runs, "the disk is full")
    filler.unlink()
    assert server.run(*small_run.arguments(runs, WITHOUT_MLFLOW)).code(0) == 0
    assert outcome(runs) == expected


def _fill(filler: Path, left_kb: int) -> None:
    free = shutil.disk_usage(filler.parent).free - left_kb * 1024
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:  # a run may write at the same time
        for _ in range(0, free, 4096):
            file.write(b"\0" * 4096)
