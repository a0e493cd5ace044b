"""What squeue and sacct said on a real cluster (22.05), and what a run's status becomes with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from codctl.jobs import queue
from codctl.jobs.launcher import JobState
from codctl.jobs.queue import _BETWEEN
from codctl.jobs.status import reconcile

ME = "0|root|many"
SCRIPT = "/runs/my | many/slurm/.submission_file_0a.sh"
SQUEUE = f"""\
26_4|PENDING|JobArrayTaskLimit||{ME}|{SCRIPT}
26_5|PENDING|JobArrayTaskLimit||{ME}|{SCRIPT}
27|PENDING|Dependency||{ME}-sum-up|{SCRIPT}
26_1|COMPLETED|None|n2|{ME}|{SCRIPT}
26_2|RUNNING|None|n1|{ME}|{SCRIPT}
what somebody's wrapper script says
"""
SACCT = f"""\
27|CANCELLED by 0|None assigned|{ME}|sbatch {SCRIPT}
26_0|COMPLETED|n1|{ME}|sbatch {SCRIPT}
26_2|RUNNING|n1|{ME}|sbatch {SCRIPT}
26_[2,4-5%2]|PENDING|None assigned|{ME}|sbatch {SCRIPT}
28|PENDING|None assigned||||
"""


def rows(text: str, fields: int) -> str:
    """Rows as the clients write them, whose last field may hold what stands between fields here."""
    return "\n".join(_BETWEEN.join(line.split("|", fields - 1)) for line in text.splitlines())


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
    found = {state.job: state for state in queue.parse_squeue(rows(SQUEUE, 8))}
    about = {"owner": 0, "user": "root", "name": "many", "script": SCRIPT}
    assert found["26_4"] == JobState("26_4", "PENDING", "JobArrayTaskLimit", "", **about)
    assert found["26_2"] == JobState("26_2", "RUNNING", "", "n1", **about)
    assert len(found) == 5
    assert found["27"].is_waiting
    assert not found["26_1"].is_waiting
    assert not found["26_1"].is_at_work


def test_sacct_is_read_and_an_elements_own_row_beats_the_stale_range() -> None:
    found = {state.job: state for state in queue.parse_sacct(rows(SACCT, 7))}
    assert found["27"] == JobState("27", "CANCELLED", "", "", 0, "root", "many", SCRIPT)
    assert found["28"].owner == -1  # its row is not complete yet
    assert found["26_2"].state == "RUNNING"
    assert found["26_5"].state == "PENDING"
    assert "26_3" not in found


def test_squeue_counts_and_sacct_knows_the_rest(clients: Path) -> None:
    client(clients, "squeue", f"echo '{rows('26_2|RUNNING|None|n1|0|root|a|/s', 8)}'")
    ended = "26_2|NODE_FAIL|n2|0|root|a|/s\n26_0|COMPLETED|n1|0|root|a|/s"
    client(clients, "sacct", f"echo '{rows(ended, 7)}'")
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
        ("cancelled", ["RUNNING"], "running"),  # the request to stop has not been answered
        ("cancelled", ["COMPLETED", "PENDING"], "queued"),
        ("cancelled", ["COMPLETING"], "cancelled"),
        ("cancelled", ["unknown"], "cancelled"),
        ("failed", ["PENDING"], "failed"),
    ],
)
def test_files_and_jobs_together(files: str, jobs: list[str], status: str) -> None:
    assert reconcile(files, [JobState(str(i), state) for i, state in enumerate(jobs)]) == status
