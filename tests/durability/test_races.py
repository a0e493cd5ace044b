"""Several launchers of one run: exactly one works, the others say who does, and a dead one stands in nobody's way."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codctl.errors import RefusedError
from codctl.files.lock import RunLock
from tests.durability import small_run
from tests.durability.conftest import WITHOUT_MLFLOW
from tests.durability.processes import Child, Processes

Outcome = Callable[[Path], dict[str, Any]]


def race(server: Processes, runs: Path, count: int, *more: str) -> tuple[Child, list[Child]]:
    """Start so many at once and wait until all but one have ended; returns that one and the others.

    The run is far too long to end before the slowest of them has come to its lock.
    """
    words = small_run.arguments(runs, WITHOUT_MLFLOW, "train.steps=10000")
    children = [server.start(*words, *more) for _ in range(count)]
    deadline = time.monotonic() + 120
    while sum(not child.has_ended(0.01) for child in children) > 1:
        assert time.monotonic() < deadline, "more than one works"
    working = [child for child in children if not child.has_ended()]
    assert len(working) == 1, [child.err() for child in children]
    return working[0], [child for child in children if child is not working[0]]


def wait_for_line(path: Path, line: str) -> None:
    deadline = time.monotonic() + 60
    while not path.is_file() or line not in path.read_text():
        assert time.monotonic() < deadline, line
        time.sleep(0.01)


def assert_refused(children: list[Child], winner: Child) -> None:
    for child in children:
        assert child.code(0) == 6, child.err() + child.out()
        assert "Traceback" not in child.err()
        assert f"in use by process {winner.pid} on " in child.out(), child.out()


def test_five_launchers_of_a_new_run_and_a_killed_winner(server: Processes, tmp_path: Path) -> None:
    winner, losers = race(server, tmp_path, 5)
    assert_refused(losers, winner)
    run = small_run.folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["small"]
    assert [path.name for path in (run / "attempts").iterdir()] == ["001"]
    winner.kill()
    heir, losers = race(server, tmp_path, 2)
    assert_refused(losers, heir)
    line = f"attempt 1 died (process {winner.pid} on {os.uname().nodename}): continuing from its last checkpoint"
    wait_for_line(run / "attempts" / "002" / "log.txt", line)
    heir.kill()


def test_a_race_in_which_all_want_to_begin_anew(server: Processes, runs: Path) -> None:
    """Each may move the run aside that it finds, but never one in which another works."""
    before = sorted(path.name for path in small_run.folder(runs).rglob("*"))
    winner, losers = race(server, runs, 3, "--fresh")
    for child in losers:
        assert child.code(0) == 6, child.err() + child.out()
    deadline = time.monotonic() + 120  # it holds the run, but may not have begun to log
    while not list(small_run.folder(runs).glob("attempts/*/log.txt")):
        assert time.monotonic() < deadline, winner.err()
        time.sleep(0.05)
    winner.kill()
    aside = sorted(runs.glob("small.old-*"))
    assert sorted(path.name for path in aside[0].rglob("*")) == before  # moved, and otherwise left alone
    attempts = [path for folder in [*aside[1:], small_run.folder(runs)] for path in folder.glob("attempts/*/log.txt")]
    assert [path.parents[2].name for path in attempts] == ["small"]


def test_a_lock_that_was_moved_aside_is_no_lock(tmp_path: Path) -> None:
    """Who waits for a lock may get it when the run has been renamed: then it locks something else."""
    run = tmp_path / "run"
    run.mkdir()
    descriptor = os.open(run / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    lock = RunLock(run / "lock")
    plain = lock._locked

    def locked_late() -> int:  # the other process renames the run between our opening and our locking
        lock._locked = plain  # type: ignore[method-assign]
        late = os.open(run / "lock", os.O_RDWR)
        run.rename(tmp_path / "run.old-1")
        run.mkdir()
        os.close(descriptor)
        fcntl.flock(late, fcntl.LOCK_EX)
        return late

    lock._locked = locked_late  # type: ignore[method-assign]
    with lock, pytest.raises(RefusedError, match="in use by process"), RunLock(run / "lock", patience_s=0.1):
        pass


def test_a_run_that_is_moved_away_while_one_waits_is_said(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    lock = RunLock(run / "lock")
    shutil.rmtree(run)
    with pytest.raises(RefusedError, match="moved this run aside"), lock:
        pass


@pytest.mark.slow
def test_two_launchers_do_no_damage(
    server: Processes, tmp_path: Path, outcome: Outcome, expected: dict[str, Any]
) -> None:
    """One that comes when the work is done finds nothing to do."""
    words = small_run.arguments(tmp_path, WITHOUT_MLFLOW)
    children = [server.start(*words) for _ in range(2)]
    while not all(child.has_ended(0.5) for child in children):  # others keep coming while it works
        assert server.run(*words).code(0) in (0, 6)
    codes = {child.code(0) for child in children}
    assert 0 in codes, [child.err() for child in children]
    assert codes <= {0, 6}, [child.err() for child in children]
    assert outcome(tmp_path) == expected
