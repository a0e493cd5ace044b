"""Runs on a real cluster end right, with the result of the same recipe run here, whatever happened to their jobs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from codctl.config.schema import ClusterConfig
from codctl.jobs import launch, queue, slurm
from codctl.runs.code import Snapshot
from codctl.runs.directory import RunDirectory, trials_of
from tests.slurm.conftest import SHORT, Desk, results

pytestmark = pytest.mark.slurm

Same = Callable[[str], None]

SEEN = """
import os
names = ("SLURM_JOB_NUM_NODES", "SLURM_NTASKS", "RANK")
with open(f"{os.path.dirname(__file__)}/process-{os.getpid()}", "w") as file:
    file.write(" ".join(os.environ.get(name, "none") for name in names))
"""


@pytest.fixture(scope="session", autouse=True)
def sent(desk: Desk) -> dict[str, str]:
    """What takes longest goes first and runs beside everything else: name → job."""
    # SLURM looks at limits every 30 s, so the signal comes after 0 to 30 s of a job's minute. On a busy machine most of
    # that goes into starting Python, and many jobs do little or nothing. A signal in the seconds before a job has
    # processes is lost, and the job ends at its limit: "limit" fails then.
    brief = ("cluster.partition=brief", "cluster.time=1")
    patient = (*brief, "cluster.stalled_attempts=50")
    return {
        "limit": desk.train("limit", *patient),
        "chained": desk.train("chained", *patient, "cluster.requeue=false", "cluster.chain=32"),
        "stalled": desk.train("stalled", *brief, "cluster.stalled_attempts=1", "warm_start.packs=20000"),
    }


@pytest.fixture(autouse=True)
def _this_cluster(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", str(desk.cluster.conf))


def test_jobs_that_slurm_would_refuse_or_never_start(desk: Desk) -> None:
    for overrides, message in {
        ("cluster.partition=nope",): "invalid partition specified: nope",
        ("cluster.partition=brief",): "partition brief allows 1 min, cluster.time is 10 min",
        ("cluster.cpus_per_task=64",): "Requested node configuration is not available",
        ("cluster.time=1", "cluster.signal_delay_s=60"): "a time limit of 60 s is too short",
    }.items():
        error = desk.codctl("train", "longer.yaml", "--slurm", "--name", "refused", *overrides, code=6)
        assert message in error["message"]
        assert error["hint"]


def test_a_run_stopped_by_scontrol_requeue(desk: Desk, same: Same) -> None:
    job = desk.train("requeued")
    desk.trains("requeued")
    desk.cluster.run("scontrol", "requeue", job)
    desk.ends("requeued")
    assert [attempt["job"] for attempt in desk.run("requeued").attempts()] == [job, job]
    same("requeued")


def test_a_real_time_limit_of_one_minute(desk: Desk, same: Same, sent: dict[str, str]) -> None:
    desk.ends("limit", seconds=1200)
    outcomes = [attempt["outcome"] for attempt in desk.run("limit").attempts()]
    assert outcomes[:-1] == ["paused"] * (len(outcomes) - 1)
    assert len(outcomes) > 1
    desk.until(lambda: desk.account(sent["limit"]) == "COMPLETED", "sacct says so too")
    same("limit")


def test_a_chain_where_nothing_is_requeued(desk: Desk, same: Same) -> None:
    desk.ends("chained", seconds=1200)
    jobs = (desk.run("chained").dispatch() or {})["jobs"]
    desk.until(lambda: not any(state.is_waiting for state in queue.states(jobs).values()), "the links end")
    attempts = desk.run("chained").attempts()
    assert 1 < len(attempts) < len(jobs)
    assert [attempt["job"] for attempt in attempts] == jobs[: len(attempts)]
    desk.until(lambda: desk.account(jobs[-1]) == "COMPLETED", "the last link had nothing to do")
    same("chained")


def test_a_limit_that_is_too_short_for_anything_ends_in_a_failed_run(desk: Desk, sent: dict[str, str]) -> None:
    desk.ends("stalled", "failed")
    attempts = desk.run("stalled").attempts()
    *earlier, last = [attempt["outcome"] for attempt in attempts]
    assert set(earlier) <= {"paused", "interrupted"}  # interrupted: it did not pause in the time that it was given
    assert last == "failed"
    assert attempts[-1]["message"].startswith("no progress in 1 attempt: still at ")
    # Another attempt follows one that built the model; the warm start is beyond all of them.
    assert attempts[-1]["message"].endswith({1: "the start", 2: "model"}[len(earlier)])
    desk.until(lambda: desk.account(sent["stalled"]) == "FAILED", "sacct says so too")


def test_a_sweep_of_twenty_trials_is_one_array_over_both_nodes(desk: Desk) -> None:
    twenty = ("longer.yaml", "seed=range(20)", *SHORT, "--name", "many", "--slurm", "--max-parallel", "3")
    sent = desk.codctl("sweep", *twenty)
    jobs = sent["jobs"]
    assert len({job.partition("_")[0] for job in jobs}) == 1
    assert queue.states([sent["sum_up_job"]])[sent["sum_up_job"]].reason == "Dependency"
    trials = trials_of(desk.folder / "runs" / "sweeps" / "many")
    widest = 0

    def ended() -> bool:
        nonlocal widest
        widest = max(widest, sum(state.state == "RUNNING" for state in queue.states(jobs).values()))
        return all(trial.status() == "finished" for trial in trials)

    desk.until(ended, "twenty trials", 300)
    assert widest <= 3
    assert sorted(trial.attempts()[0]["job"] for trial in trials) == sorted(jobs)
    assert {state.node for state in queue.states(jobs).values()} == {"n1", "n2"}
    desk.until((desk.folder / "runs" / "sweeps" / "many" / "result.json").exists, "the job that sums up")
    [swept] = desk.codctl("status", "many")["sweeps"]
    assert (swept["complete"], swept["trials"]) == (20, 20)
    desk.codctl("train", "longer.yaml", *SHORT, "seed=7", "--name", "alone")
    [seventh] = [trial for trial in trials if trial.config().seed == 7]
    assert results(seventh) == results(desk.run("alone"))


def test_an_evaluation_is_a_job_with_the_same_result(desk: Desk, reference: RunDirectory) -> None:
    asked = ("eval", "--run", reference.name, "--limit", "4", "length=2", "arms=[own,none]")
    sent = desk.codctl(*asked, "--slurm")
    desk.until((desk.folder / sent["folder"] / "result.json").exists, "the result")
    there = desk.codctl(*asked)
    here = desk.codctl(*asked, "--fresh")
    assert there["attempts"] == here["attempts"] == 1
    assert there["parts"] == here["parts"]


def test_cancelling_a_running_run_and_resuming_it(desk: Desk, same: Same) -> None:
    job = desk.train("stopped")
    desk.trains("stopped", 10)
    desk.codctl("cancel", "stopped")
    assert desk.status("stopped") == "cancelled"
    desk.until(lambda: not queue.states([job])[job].is_at_work, "the job is gone")
    desk.codctl("resume", "stopped", "--slurm")
    desk.ends("stopped")
    same("stopped")


def test_scancel_by_hand_of_a_pending_and_of_a_running_run(desk: Desk) -> None:
    later = desk.train("later", "cluster.extras={begin: now+1hour}")
    assert desk.status("later") == "queued"
    now = desk.train("now")
    desk.until(lambda: desk.run("now").status() == "running", "it runs")
    desk.cluster.run("scancel", later, now)
    desk.until(lambda: desk.status("later") == desk.status("now") == "cancelled", "both are cancelled")


def test_a_command_is_one_process_whatever_the_training_needs(desk: Desk) -> None:
    folder = desk.folder / "command"
    folder.mkdir()
    (folder / "seen.py").write_text(SEEN)
    cluster = ClusterConfig(nodes=2, processes_per_node=2, cpus_per_task=1, time=10)
    argv = [sys.executable, str(folder / "seen.py")]
    batch = launch.command_batch(argv, cluster, "seen", folder, Snapshot("abc", Path.cwd()), gpus=0)
    [[job]] = slurm.Slurm().submit(batch).jobs
    desk.until(lambda: desk.account(job) == "COMPLETED", "it ends")
    assert [path.read_text() for path in folder.glob("process-*")] == ["1 1 none"]


def test_a_node_that_dies(desk: Desk, same: Same) -> None:
    job = desk.train("bereft")
    desk.trains("bereft")
    node = queue.states([job])[job].node
    desk.cluster.kill_node(node)
    desk.until(lambda: desk.run("bereft").status() == "died", "its lock is free")
    desk.ends("bereft")
    assert [attempt["outcome"] for attempt in desk.run("bereft").attempts()] == ["died", "finished"]
    assert queue.states([job])[job].node != node
    same("bereft")
    desk.cluster.start_node(node)


def test_doctor_looks_at_a_node_and_a_node_that_does_not_see_the_runs(desk: Desk) -> None:
    found = {finding["name"].split(": ")[-1]: finding for finding in desk.codctl("doctor", "--slurm")["findings"]}
    assert {found[what]["status"] for what in ("clients", "python", "runs folder", "requeue", "partition")} == {"ok"}
    apart = desk.folder / "apart"
    apart.mkdir()
    desk.cluster.stop_node("n2")
    desk.cluster.start_node("n2", blind_to=apart)
    there = ("cluster.partition=apart", "--runs-dir", str(apart))
    error = desk.codctl("train", "longer.yaml", "--slurm", *there, code=6)
    assert "compute nodes do not see this folder" in error["message"]
    assert "--runs-dir" in error["hint"]
    listed = desk.codctl("doctor", "--slurm", *there, code=3)["findings"]
    assert [f["status"] for f in listed if f["name"] == "node n2: runs folder"] == ["failed"]


@pytest.fixture
def unaccounted(desk: Desk) -> Iterator[None]:
    desk.cluster.up(accounting=False)
    yield
    desk.cluster.up()


@pytest.mark.usefixtures("unaccounted")
def test_accounting_switched_off(desk: Desk, same: Same) -> None:
    job = desk.train("unaccounted")
    later = desk.train("forgotten", "cluster.extras={begin: now+1hour}")
    desk.ends("unaccounted")
    same("unaccounted")
    assert queue.states([job])[job].state in ("COMPLETED", "COMPLETING", "RUNNING")
    desk.codctl("cancel", "forgotten")
    assert desk.status("forgotten") == "cancelled"
    assert not queue.states([later])[later].is_waiting
    assert queue.states(["999999"])["999999"].state == "gone"
    findings = {finding["name"]: finding for finding in desk.codctl("doctor", "--slurm")["findings"]}
    assert "off" in findings["accounting"]["message"]
