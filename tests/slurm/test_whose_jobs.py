"""Jobs on a real cluster end with the run that they belong to, and no other job does; nor does damage spread."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable

import pytest

from codctl.jobs import queue
from codctl.runs import stop
from codctl.runs.directory import trials_of
from tests.slurm.conftest import SHORT, Desk

pytestmark = pytest.mark.slurm

LATER = "cluster.extras={begin: now+1hour}"


@pytest.fixture(autouse=True)
def _this_cluster(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", str(desk.cluster.conf))


def state(job: str) -> str:
    return queue.states([job])[job].state


def test_cancelling_a_run_whose_job_hangs_in_its_setup(desk: Desk) -> None:
    job = desk.train("hanging", 'cluster.setup=["sleep 600"]')
    desk.until(lambda: state(job) == "RUNNING", "it runs")
    assert desk.codctl("cancel", "hanging")["cancelled"] == ["hanging"]
    assert state(job) in ("COMPLETING", "CANCELLED")
    assert desk.status("hanging") == "cancelled"


def test_cancelling_a_run_while_slurm_requeues_its_job(desk: Desk) -> None:
    job = desk.train("returning", "train.steps=2000")
    desk.trains("returning", 10)
    desk.cluster.run("scontrol", "requeue", job)
    assert desk.codctl("cancel", "returning")["cancelled"] == ["returning"]
    desk.until(lambda: not queue.states([job])[job].is_alive, "the job is gone")
    assert desk.status("returning") == "cancelled"


def test_cancelling_a_copy_leaves_the_job_of_the_original(desk: Desk) -> None:
    job = desk.train("original", LATER)
    copy = shutil.copytree(desk.run("original").path, desk.run("copied").path)
    given = desk.run("given")
    shutil.copytree(copy, given.path)
    sent, about = given.path / "dispatch.json", json.loads(given.manifest_path.read_text())
    sent.write_text(json.dumps({key: value for key, value in json.loads(sent.read_text()).items() if key != "place"}))
    given.manifest_path.write_text(json.dumps({**about, "name": "given", "created": "2020-01-01T00:00:00+00:00"}))
    assert [desk.status(name) for name in ("copied", "given")] == ["planned", "died"]
    assert desk.codctl("cancel", "copied", "given")["cancelled"] == ["copied"]
    assert desk.status("original") == "queued"
    assert desk.codctl("cancel", "original")["cancelled"] == ["original"]
    assert not queue.states([job])[job].is_alive


def test_a_job_of_somebody_else_with_the_same_id(desk: Desk) -> None:
    mine = desk.train("overtaken", LATER)
    desk.cluster.run("scancel", mine)
    command = "sbatch --parsable --begin=now+1hour --output=/dev/null --wrap 'sleep 600'"
    theirs = subprocess.run(
        ["su", "nobody", "-s", "/bin/sh", "-c", command],
        cwd="/tmp", env=desk.cluster.environment, capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    path = desk.run("overtaken").path / "dispatch.json"
    path.write_text(path.read_text().replace(f'"{mine}"', f'"{theirs}"'))
    answer = desk.codctl("status", "overtaken")
    assert answer["runs"][0]["status"] == "died"
    assert answer["notes"] == [f"job {theirs} in dispatch.json is another job now (wrap, of nobody): it is ignored"]
    assert desk.codctl("cancel", "overtaken")["already"] == {"overtaken": "died"}
    assert state(theirs) == "PENDING"
    desk.cluster.run("scancel", theirs)


def test_a_node_that_is_lost_while_a_job_is_requeued(desk: Desk, same: Callable[[str], None]) -> None:
    job = desk.train("twice")
    desk.trains("twice")
    node = queue.states([job])[job].node
    desk.cluster.run("scontrol", "requeue", job)
    desk.cluster.kill_node(node)
    seen = set()

    def has_ended() -> bool:
        seen.add(desk.status("twice"))
        return desk.run("twice").status() == "finished"

    desk.until(has_ended, "it goes on elsewhere")
    assert seen <= {"running", "queued", "paused", "finished"}
    same("twice")
    desk.cluster.start_node(node)


def test_an_array_with_damaged_elements_and_the_sweep_that_goes_on(desk: Desk) -> None:
    three = ("longer.yaml", "seed=range(4)", *SHORT, "--name", "damaged", "--slurm")
    desk.codctl("sweep", *three, "cluster.extras={begin: now+10}")
    folder = desk.folder / "runs" / "sweeps" / "damaged"
    first, second, third, fourth = trials_of(folder)
    first.manifest_path.write_text("{")
    (second.path / "dispatch.json").write_text('{"jobs": ["12+0"]}')
    stop.write(third.path, "cancel")
    desk.until(lambda: fourth.status() == "finished", "the one that nothing happened to")
    desk.until((folder / "result.json").exists, "the job that sums up")
    trials = {one["name"]: one["status"] for one in desk.codctl("status", "damaged")["sweeps"][0]["open"]}
    expected = {first.name: "unreadable", second.name: "unreadable", third.name: "cancelled"}
    assert {name.removeprefix("damaged/"): status for name, status in trials.items()} == expected
    desk.codctl("resume", "damaged")
    desk.until(lambda: third.status() == "finished", "what could go on")
