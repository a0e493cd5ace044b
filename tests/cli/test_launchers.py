"""A launcher that somebody adds carries out runs, is asked about them, and cancels them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from codctl.errors import RefusedError
from codctl.jobs.launcher import LAUNCHERS, Batch, JobState, Launcher, Submitted
from codctl.processes import Child


class Pool(Launcher):
    """Child processes of the test; their ids are the jobs'."""

    children: ClassVar[dict[str, Child]] = {}
    is_closed: ClassVar[bool] = False

    def submit(self, batch: Batch) -> Submitted:
        self.check(batch)
        found = [Child.start(task.argv, env=batch.environment, log=task.log, grace_s=0) for task in batch.tasks]
        self.children.update({f"p{child.pid}": child for child in found})
        return Submitted([[f"p{child.pid}"] for child in found])

    def states(self, jobs: Sequence[str]) -> Mapping[str, JobState]:
        known = {job: self.children[job].exit_code() for job in jobs if job in self.children}
        return {job: JobState(job, "RUNNING" if code is None else "COMPLETED") for job, code in known.items()}

    def cancel(self, jobs: Sequence[str]) -> None:
        for job in jobs:
            self.children[job].signal(signal.SIGTERM)

    def check(self, batch: Batch) -> None:
        if self.is_closed:
            raise RefusedError("the pool is closed", hint="come back tomorrow")


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Child]]:
    monkeypatch.setitem(LAUNCHERS.built_in, "pool", "…")
    monkeypatch.setitem(LAUNCHERS._made, "pool", Pool())
    yield Pool.children
    for child in Pool.children.values():
        child.end(0)
    Pool.children.clear()


def test_a_run_goes_to_a_launcher_and_back(pool: dict[str, Child], cli: Any, home: Path, micro: str) -> None:
    outcome = cli("train", micro, "--on", "pool")
    assert outcome.code == 0, outcome.err
    [(job, child)] = pool.items()
    assert f"started job {job}" in outcome.out
    assert cli("status", "micro", "--json").json["result"]["runs"][0]["where"] == "pool"
    assert child.wait(120) == 0
    entry = cli("status", "micro", "--json").json["result"]["runs"][0]
    assert entry["status"] == "finished"


def test_a_job_that_never_began_is_cancelled_and_resumed_where_it_was(
    pool: dict[str, Child], cli: Any, home: Path, micro: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codctl.jobs.worker.command", lambda run, job=None: ["sleep", "60"])
    assert cli("train", micro, "--on", "pool").code == 0
    assert cli("status", "micro", "--json").json["result"]["runs"][0]["status"] == "running"
    outcome = cli("cancel", "micro")
    assert outcome.out == "micro: cancelled\n"
    [child] = pool.values()
    assert child.wait(60) == 128 + signal.SIGTERM
    assert cli("resume", "micro").code == 0
    assert len(pool) == 2


def test_a_forged_job_id_is_nobodys(pool: dict[str, Child], cli: Any, home: Path, micro: str) -> None:
    other = Child.start(["sleep", "60"], env=os.environ, log=None, grace_s=0)
    pool["p1"] = other
    assert cli("train", micro, "--on", "pool").code == 0
    for child in pool.values():
        if child is not other:
            child.end(0)
    path = home / "runs" / "micro" / "dispatch.json"
    text = path.read_text().replace(f'"{list(pool)[1]}"', '"p1"')
    path.write_text(text.replace(f'"inode": {path.parent.stat().st_ino}', '"inode": 7'))
    cli("cancel", "micro")
    assert other.exit_code() is None


def test_what_a_launcher_refuses_leaves_nothing_behind(
    pool: dict[str, Child], cli: Any, home: Path, micro: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pool, "is_closed", True)
    outcome = cli("train", micro, "--on", "pool")
    assert (outcome.code, "the pool is closed" in outcome.err) == (6, True)
    assert not (home / "runs" / "micro").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--on", "slrum"], "did you mean 'slurm'"),
        (["--on", "os:system"], "unknown launcher 'os:system'"),
        (["--on", "local", "--slurm"], "--on local and --slurm cannot be combined"),
        (["--slurm", "--detach"], "--slurm and --detach cannot be combined"),
    ],
)
def test_a_launcher_that_cannot_be_meant_is_refused(words: list[str], message: str, cli: Any, micro: str) -> None:
    outcome = cli("train", micro, *words)
    assert outcome.code == 2
    assert message in outcome.err
