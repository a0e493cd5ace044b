"""What can be said of SLURM jobs without a SLURM: the job script, refusals, and when a run is given up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codctl.cli import train
from codctl.config.schema import ClusterConfig, Config
from codctl.errors import BackendError, CodctlError, RefusedError
from codctl.jobs import launch, learners, nodes, slurm, slurm_checks
from codctl.jobs.launcher import Batch
from codctl.jobs.supervisor import StageJob, _Engines, given_up
from codctl.runs.code import Snapshot
from codctl.runs.directory import RunDirectory
from tests.jobs.conftest import Clients, squeue_line

ONE = """\
#!/bin/bash

# Parameters
#SBATCH --account=lab
#SBATCH --constraint='a100|h100'
#SBATCH --cpus-per-task=8
#SBATCH --exclusive
#SBATCH --gpus-per-node=1
#SBATCH --job-name=mine
#SBATCH --mem=64G
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --open-mode=append
#SBATCH --output='/data/my runs/mine/slurm/%j_0_log.out'
#SBATCH --partition=fast
#SBATCH --qos=high
#SBATCH --requeue
#SBATCH --reservation='my group'
#SBATCH --signal=USR2@300
#SBATCH --time=1440

# setup
module load cuda
export PYTHONPATH='/data/my runs/.code/abc'${{PYTHONPATH:+:$PYTHONPATH}}

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output '/data/my runs/mine/slurm/%j_%t_log.out' --cpus-per-task=8 \
{python} -u -m codctl.jobs.job_entry '/data/my runs/mine/slurm'
"""


def batch(runs: list[Path], cluster: ClusterConfig, folder: Path, name: str = "x", code: Path = Path("/c")) -> Batch:
    return launch.batch_of(runs, cluster, name, folder, Snapshot("abc", code))


def script(cluster: ClusterConfig, runs: int = 1) -> str:
    root = Path("/data/my runs")
    places = [root / f"mine-{number}" for number in range(runs)]
    return slurm.Slurm().script(batch(places, cluster, root / "mine" / "slurm", "mine", root / ".code" / "abc"))


def test_the_job_script() -> None:
    cluster = ClusterConfig(
        partition="fast", account="lab", qos="high", gpus_per_node=1, cpus_per_task=8, mem="64G", time="24:00:00",
        constraint="a100|h100", setup=("module load cuda",),
        extras={"reservation": "my group", "exclusive": True, "contiguous": False},
    )  # fmt: skip
    assert script(cluster) == ONE.format(python=sys.executable)


def test_several_runs_are_one_array_of_limited_width() -> None:
    text = script(ClusterConfig(max_parallel=4), runs=20)
    assert "#SBATCH --array=0-19%4\n" in text
    assert "%A_%a_0_log.out" in text
    assert "#SBATCH --array=0-19%20\n" in script(ClusterConfig(), runs=20)


def test_without_requeue_the_cluster_is_told_so() -> None:
    text = script(ClusterConfig(requeue=False, chain=4))
    assert "#SBATCH --no-requeue\n" in text
    assert "#SBATCH --requeue" not in text


def test_several_nodes_have_a_supervisor_each_and_fail_together() -> None:
    text = script(ClusterConfig(nodes=2, processes_per_node=4))
    assert "#SBATCH --nodes=2\n" in text
    assert "#SBATCH --ntasks-per-node=1\n" in text
    assert "--kill-on-bad-exit=1 --wait=0" in text
    assert "--kill-on-bad-exit" not in script(ClusterConfig(processes_per_node=4))


def test_a_percent_sign_in_a_path_is_no_placeholder() -> None:
    text = slurm.Slurm().script(batch([Path("r%20 x")], ClusterConfig(), Path("/r%20 x/slurm")))
    assert "#SBATCH --output='/r%%20 x/slurm/%j_0_log.out'" in text
    assert "--output '/r%%20 x/slurm/%j_%t_log.out'" in text
    assert "job_entry '/r%20 x/slurm'" in text


def test_a_path_that_names_a_jobs_number_is_refused() -> None:
    with pytest.raises(RefusedError, match="would replace %j"):
        slurm.Slurm().script(batch([Path("r%j")], ClusterConfig(), Path("/r%j/slurm")))


def test_a_time_limit_that_leaves_no_time_to_work() -> None:
    with pytest.raises(RefusedError, match=r"300 s is too short: a run saves 300 s before the end"):
        script(ClusterConfig(time=5))


def test_no_slurm_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = new_run(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackendError, match="there is no sbatch on this machine") as caught:
        slurm.Slurm().submit(batch([run.path], ClusterConfig(), run.path / "slurm"))
    assert caught.value.exit_code == 7
    assert "--detach" in caught.value.hint
    assert run.status() == "planned"
    with pytest.raises(BackendError, match="there is no scancel"):
        slurm.Slurm().cancel(["12"])


@pytest.mark.parametrize(
    ("words", "code", "hint"),
    [
        ("sbatch: error: invalid partition specified: nope\nallocation failure: Invalid partition", 6, "sinfo -s"),
        ("sbatch: error: Invalid account or account/partition combination", 6, "cluster.partition"),
        ("allocation failure: Requested node configuration is not available", 6, "%c %m %G"),
        ("sbatch: error: Invalid generic resource (gres) specification", 6, "gpus_per_node"),
        ("sbatch: unrecognized option '--frobnicate=1'", 6, "cluster.extras"),
        ("sbatch: error: Unable to contact slurm controller (connect failure)", 7, "scontrol ping"),
        ("sbatch: error: something new", 6, "codctl doctor --slurm"),
    ],
)
def test_sbatchs_own_words_and_what_to_type(words: str, code: int, hint: str) -> None:
    error = slurm_checks.refusal(words)
    assert isinstance(error, CodctlError)
    assert error.exit_code == code
    assert hint in error.hint
    assert "sbatch: " not in error.message


@pytest.mark.parametrize(
    ("text", "expected"), [("infinite", None), ("1:00", 1), ("30:00", 30), ("2:00:00", 120), ("1-00:00:00", 1440)]
)
def test_limits_of_partitions(text: str, expected: int | None) -> None:
    assert slurm_checks.limit_minutes(text) == expected


def test_a_run_is_given_up_when_its_attempts_are_used_or_win_nothing() -> None:
    def marks(*texts: str) -> list[dict[str, Any]]:
        return [{"mark": text} for text in texts]

    job = StageJob("/r", "/c", max_attempts=5, stalled_attempts=3)
    assert given_up([], "", job) == ""
    assert given_up(marks("a", "a"), "a", job) == ""
    assert given_up(marks("a", "b", "b"), "b", job) == ""
    assert given_up(marks("a", "b", "b", "b"), "c", job) == ""  # the last one won something
    assert given_up(marks("a", "b", "b", "b"), "b", job) == "no progress in 3 attempts: still at b"
    assert given_up(marks(*"abcde"), "f", job).startswith("not finished after 5 attempts of this submission")


def test_each_process_gets_its_place_and_all_the_same_meeting_point() -> None:
    found = [
        learners.torchrun_environment(nodes=["localhost", "b"], node=node, processes=2, local_rank=local, port=20862)
        for node in (0, 1)
        for local in (0, 1)
    ]
    assert [env["RANK"] for env in found] == ["0", "1", "2", "3"]
    assert [env["LOCAL_RANK"] for env in found] == ["0", "1", "0", "1"]
    assert {(env["WORLD_SIZE"], env["MASTER_ADDR"], env["MASTER_PORT"]) for env in found} == {
        ("4", "localhost", "20862")
    }


def test_a_command_runs_once_whatever_the_training_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An evaluation of a run that learns in several processes on several nodes."""
    handed: list[Any] = []
    monkeypatch.setattr(slurm, "_hand_over", lambda executor, work: handed.append((executor.parameters, work)) or ["7"])
    cluster = ClusterConfig(nodes=2, processes_per_node=4, gpus_per_node=4, cpus_per_task=8)
    played = tmp_path / "played"
    argv = [sys.executable, "-c", f"open({str(played)!r}, 'a').write('once')"]
    monkeypatch.setattr(slurm_checks, "check", lambda *_, **__: None)
    snapshot = Snapshot("abc", Path.cwd())
    for name, gpus, after in (("eval", 4, []), ("sum-up", 0, ["1"])):
        command = launch.command_batch(argv, cluster, name, tmp_path, snapshot, gpus=gpus, after=after)
        assert slurm.Slurm().submit(command).jobs == [["7"]]
    assert handed[1][0]["dependency"] == "afterany:1"
    assert [(found["nodes"], found["gpus_per_node"]) for found, _ in handed] == [(1, 4), (1, None)]
    before = signal.getsignal(signal.SIGUSR2)
    try:
        handed[0][1][0]()
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert played.read_text() == "once"


def new_run(folder: Path, **sections: Any) -> RunDirectory:
    config = Config.model_validate({"name": "mine", "tracking": {"mlflow": False}, **sections})
    return RunDirectory.create_or_continue(folder / "runs", config, recipe="mine", command=["codctl"])


def test_a_run_is_not_submitted_twice_but_again_when_its_job_is_gone(
    tmp_path: Path, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_run(tmp_path)
    run.write_dispatch({"where": "slurm", "jobs": ["7"]})
    clients.queued(squeue_line("7", "PENDING", run.path))
    monkeypatch.setattr(launch, "send", lambda run, *_: {"run": str(run.path), "jobs": ["8"]})
    monkeypatch.setattr(launch, "snapshot_for", lambda _: None)
    with pytest.raises(RefusedError, match=r"run 'mine' is already queued \(7\)"):
        train._send(run, run.config(), "slurm", as_json=False)
    clients.queued()
    train._send(run, run.config(), "slurm", as_json=False)


def test_the_time_limits_signal_pauses_the_worker_and_asks_for_another_go(tmp_path: Path) -> None:
    """The supervisor as SLURM starts it, with a stand-in for scontrol alone; tests/slurm has the real one."""
    run = new_run(tmp_path)
    folder, asked = tmp_path / "jobs", tmp_path / "asked"
    folder.mkdir()
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/sh\nls {run.path} >"{asked}.files"\necho "$@" >>"{asked}"\n')
    scontrol.chmod(0o755)
    dump(StageJob(str(run.path), str(Path.cwd())), folder / "7_submitted.pkl")
    (folder / "7_submitted.pkl.save_tmp").touch()  # a job that was killed while it wrote leaves this
    env = {**os.environ, "PATH": f"{scontrol.parent}:{os.environ['PATH']}", "SUBMITIT_EXECUTOR": "slurm"}
    job = subprocess.Popen(
        [sys.executable, "-m", "codctl.jobs.job_entry", str(folder)],
        env={**env, "SLURM_JOB_ID": "7"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while run.status() != "running":
            assert time.monotonic() < deadline
            assert job.poll() is None, job.stdout.read() if job.stdout else ""
            time.sleep(0.1)
        job.send_signal(signal.SIGUSR2)
        out, _ = job.communicate(timeout=120)
    finally:
        job.kill()
    assert asked.read_text() == "requeue 7\n", out
    [attempt] = run.attempts()
    assert (attempt["outcome"], attempt["job"]) == ("paused", "7")
    assert run.status() == "paused"


def test_the_process_for_engines_is_started_again_until_it_fails_too_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    starts = tmp_path / "starts"
    count = f"echo x >> {starts}; test $(wc -l < {starts}) -lt 3 && kill -9 $$; sleep 60"
    fails = f"echo x >> {starts}; exit 3"

    def until(engines: _Engines, found: Callable[[], bool]) -> int | None:
        deadline = time.monotonic() + 60
        while not found():
            assert time.monotonic() < deadline
            if code := engines.wait(0):
                return code
            time.sleep(0.01)
        return None

    with _Engines(tmp_path, 1, ["sh", "-c", count], dict(os.environ), 2) as engines:
        assert until(engines, lambda: starts.exists() and len(starts.read_text().split()) == 3) is None
        assert engines.wait(0) is None
    assert nodes._engines_of(tmp_path, 1) is None
    starts.unlink()
    with _Engines(tmp_path, 1, ["sh", "-c", fails], dict(os.environ), 2) as engines:
        assert until(engines, lambda: False) == 3
    assert len(starts.read_text().split()) == 3
    with pytest.raises(BackendError, match="the engines on node 2 of the job are lost: their process ended with"):
        nodes._engines_of(tmp_path, 1)


def dump(job: StageJob, path: Path) -> None:
    from submitit.core.utils import DelayedSubmission

    work = DelayedSubmission(job)
    work.set_timeout(1, 10**6)
    work.dump(path)
