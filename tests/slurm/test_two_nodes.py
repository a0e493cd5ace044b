"""One training on two nodes of a real cluster: one process on each, which pause, end and fail together."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from tests.slurm.conftest import Desk

pytestmark = pytest.mark.slurm

TWO = ("cluster.nodes=2", "cluster.processes_per_node=1", "model.device=cpu", "train.strategy=ddp")


@pytest.fixture(autouse=True)
def _this_cluster(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", str(desk.cluster.conf))


def test_a_training_on_two_nodes_pauses_and_goes_on(desk: Desk) -> None:
    job = desk.train("wide", *TWO)
    desk.trains("wide")
    desk.cluster.run("scancel", "--signal=USR2", job)
    desk.ends("wide")
    assert [attempt["outcome"] for attempt in desk.run("wide").attempts()] == ["paused", "finished"]
    desk.until(lambda: desk.account(job) == "COMPLETED", "both nodes have ended well")


def test_a_learner_process_on_another_node_is_killed(desk: Desk) -> None:
    job = desk.train("torn", *TWO)
    desk.trains("torn")
    started = time.monotonic()
    os.kill(follower_of(desk.run("torn").path), signal.SIGKILL)
    desk.until(lambda: desk.status("torn") != "running", "the run has ended")
    assert time.monotonic() - started < 60
    assert "learner process" in desk.run("torn").attempts()[-1]["message"]
    desk.until(lambda: desk.account(job) == "FAILED", "sacct says so too")
    desk.train("torn", *TWO)
    desk.ends("torn")


def follower_of(run: Path) -> int:
    """The learner process of a run on its second node, which is this machine too."""
    wanted = [b"codctl.jobs.worker", os.fsencode(run.absolute()), b"--follow"]
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            argv = path.read_bytes().split(b"\0")
            if all(part in argv for part in wanted):
                return int(path.parent.name)
    raise AssertionError("there is none")
