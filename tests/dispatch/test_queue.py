"""What squeue and sacct said on a real cluster (22.05), and what a run's status becomes with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from codctl.dispatch import queue
from codctl.dispatch.queue import JobState

SQUEUE = """\
26_4|PENDING|JobArrayTaskLimit|
26_5|PENDING|JobArrayTaskLimit|
27|PENDING|Dependency|
26_1|COMPLETED|None|n2
26_2|RUNNING|None|n1
"""
SACCT = """\
27|CANCELLED by 0|None assigned
26_0|COMPLETED|n1
26_2|RUNNING|n1
26_[2,4-5%2]|PENDING|None assigned
"""


def client(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder in which programs are found."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_squeue_is_read_with_arrays_and_reasons_of_those_that_wait() -> None:
    found = {state.job: state for state in queue.parse_squeue(SQUEUE)}
    assert found["26_4"] == JobState("26_4", "PENDING", "JobArrayTaskLimit", "")
    assert found["26_2"] == JobState("26_2", "RUNNING", "", "n1")
    assert found["27"].is_waiting
    assert not found["26_1"].is_waiting
    assert not found["26_1"].is_at_work


def test_sacct_is_read_and_an_elements_own_row_beats_the_stale_range() -> None:
    found = {state.job: state for state in queue.parse_sacct(SACCT)}
    assert found["27"] == JobState("27", "CANCELLED", "", "")
    assert found["26_2"].state == "RUNNING"
    assert found["26_5"].state == "PENDING"
    assert "26_3" not in found


def test_squeue_counts_and_sacct_knows_the_rest(clients: Path) -> None:
    client(clients, "squeue", "echo '26_2|RUNNING|None|n1'")
    client(clients, "sacct", "printf '%s\\n' '26_2|NODE_FAIL|n2' '26_0|COMPLETED|n1'")
    found = queue.states(["26_0", "26_2", "26_3"])
    assert {job: state.state for job, state in found.items()} == {
        "26_0": "COMPLETED",
        "26_2": "RUNNING",
        "26_3": "gone",
    }


def test_without_accounting_a_job_that_squeue_forgot_is_gone(clients: Path) -> None:
    client(clients, "squeue", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
    client(clients, "sacct", "echo 'Slurm accounting storage is disabled' >&2; exit 1")
    assert queue.states(["12"])["12"].state == "gone"


def test_nobody_answers_and_nothing_is_known(clients: Path) -> None:
    assert queue.states(["12"])["12"].state == "unknown"
    client(clients, "squeue", "echo 'Unable to contact slurm controller' >&2; exit 1")
    assert queue.states(["12"])["12"].state == "unknown"


@pytest.mark.parametrize(
    ("files", "jobs", "status"),
    [
        ("planned", [], "planned"),
        ("queued", ["PENDING"], "queued"),
        ("queued", ["RUNNING"], "running"),  # the worker still imports
        ("queued", ["CANCELLED"], "cancelled"),
        ("queued", ["FAILED"], "failed"),  # no attempt ever began
        ("queued", ["gone"], "died"),
        ("queued", ["unknown"], "queued"),
        ("running", ["RUNNING"], "running"),
        ("running", ["NODE_FAIL"], "running"),  # sacct's word while the node is away; the lock is held
        ("running", ["PENDING"], "running"),
        ("died", ["RUNNING"], "running"),  # a lock that cannot be seen from another machine
        ("died", ["PENDING"], "queued"),  # the node failed, SLURM starts it elsewhere
        ("died", ["NODE_FAIL"], "died"),
        ("died", ["CANCELLED"], "cancelled"),
        ("paused", ["PENDING"], "paused"),
        ("paused", ["COMPLETED", "PENDING"], "paused"),  # the next link of a chain
        ("paused", ["COMPLETED", "FAILED"], "interrupted"),  # nobody will start it again
        ("interrupted", ["REQUEUED"], "queued"),
        ("interrupted", ["TIMEOUT"], "interrupted"),
        ("interrupted", ["CANCELLED"], "cancelled"),
        ("finished", ["CANCELLED"], "finished"),
        ("cancelled", ["RUNNING"], "cancelled"),
        ("failed", ["PENDING"], "failed"),
    ],
)
def test_files_and_jobs_together(files: str, jobs: list[str], status: str) -> None:
    assert queue.reconcile(files, [JobState(str(i), state) for i, state in enumerate(jobs)]) == status
