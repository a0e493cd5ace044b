"""codctl cancel and codctl resume."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import MICRO
from tests.jobs.many_trials import bring_to, holding, make_run, make_sweep

ENDLESS = MICRO.replace("name: micro", "name: endless").replace("steps: 2", "steps: 100000")


@pytest.fixture(autouse=True)
def _no_slurm(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(home))


def test_nothing_to_stop(cli, home: Path) -> None:
    bring_to(make_run(home / "runs", "a"), "finished")
    outcome = cli("cancel", "a")
    assert (outcome.code, outcome.out) == (0, "a: nothing to stop (finished)\n")
    assert cli("cancel", "a", "--json").json["result"] == {"cancelled": [], "already": {"a": "finished"}, "left": {}}
    assert not (home / "runs" / "a" / "stop.json").exists()


def test_a_queued_run_on_a_machine_without_slurm(cli, home: Path) -> None:
    """It may have started on the cluster, so the command has not succeeded; the request to stop is there."""
    bring_to(make_run(home / "runs", "a"), "queued")
    outcome = cli("cancel", "a")
    assert (outcome.code, outcome.out) == (6, "")
    assert "a: SLURM could not be asked about its job 7_1, which may still wait or run" in outcome.err
    assert cli("status", "a", "--json").json["result"]["runs"][0]["status"] == "cancelled"


def test_a_sweep_with_what_it_has_not_begun(cli, home: Path) -> None:
    make_sweep(home / "runs", "s", {"finished": 2, "planned": 2})
    outcome = cli("cancel", "s")
    assert (
        outcome.out
        == "s/planned-0: cancelled\ns/planned-1: cancelled\ns/finished-0: nothing to stop (finished)\n"
        + ("s/finished-1: nothing to stop (finished)\n")
    )
    counts = cli("status", "s", "--json").json["result"]["sweeps"][0]["counts"]
    assert counts == {"finished": 2, "cancelled": 2}
    assert (home / "runs" / "sweeps" / "s" / "stop.json").is_file()


def test_a_worker_elsewhere_is_named(cli, home: Path, monkeypatch) -> None:
    for name in ("END_S", "_KILL_S"):
        monkeypatch.setattr(f"codctl.jobs.cancel.{name}", 0.01)
    run = make_run(home / "runs", "a")
    bring_to(run, "running")
    with holding(run.path):
        run.lock_path.write_text('{"pid": 12, "host": "node17"}')
        outcome = cli("cancel", "a", "--deadline", "0")
    assert outcome.code == 6
    assert "a: process 12 on node17 is still running it" in outcome.err
    assert "Repeat the command on the machine or cluster where the run is" in outcome.err


def test_what_is_finished_or_alive_is_not_resumed(cli, home: Path) -> None:
    finished, running, queued = (make_run(home / "runs", name) for name in ("finished", "running", "queued"))
    for run in (finished, running, queued):
        bring_to(run, run.name)
    outcome = cli("resume", "finished")
    assert (outcome.code, "is finished, but part of its result is missing" in outcome.err) == (6, True)
    with holding(running.path):
        outcome = cli("resume", "running")
    assert (outcome.code, outcome.err.splitlines()[0]) == (6, "error: runs/running: run 'running' is running")
    outcome = cli("resume", "queued", "--json")
    assert (outcome.code, outcome.json["error"]["message"]) == (6, "run 'queued' is queued (job 7_1)")
    assert cli("resume", "queued", "--slurm", "--detach").code == 2


def test_code_that_is_gone_is_not_replaced_in_silence(cli, home: Path) -> None:
    run = make_run(home / "runs", "a")
    run.write_dispatch({"where": "local", "jobs": [], "code": "0123456789abcdef"})
    bring_to(run, "failed")
    outcome = cli("resume", "a")
    assert outcome.code == 6
    assert "add --current-code" in outcome.err


@pytest.mark.slow
def test_a_run_in_the_background_is_cancelled_from_another_shell_and_resumed(home: Path, monkeypatch) -> None:
    (home / "endless.yaml").write_text(ENDLESS)
    env = {**os.environ, "OMP_NUM_THREADS": "1"}

    def codctl(*argv: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "codctl.cli.main", *argv]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr
        return done

    codctl("train", "endless.yaml", "--detach")
    try:
        _until_it_trains(home / "runs" / "endless")
        assert codctl("cancel", "endless", "--deadline", "120").stdout == "endless: cancelled\n"
        saved = sorted((home / "runs" / "endless" / "stages" / "cod_train" / "checkpoints").glob("step-*"))
        codctl("resume", "endless")
        log = home / "runs" / "endless" / "attempts" / "002" / "log.txt"
        _until(lambda: f"continuing after step {int(saved[-1].name[5:])}" in log.read_text())
        codctl("cancel", "endless", "--deadline", "120")
    finally:
        _kill_what_is_left(home / "runs" / "endless" / "lock")
    assert [line.split()[0] for line in codctl("runs", "list").stdout.splitlines()] == ["name", "endless"]
    assert '"cancelled"' in (log.parent / "attempt.json").read_text()


def _until_it_trains(run: Path) -> None:
    _until(lambda: any((run / "stages" / "cod_train" / "checkpoints").glob("step-*")))


def _until(happened) -> None:
    deadline = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _kill_what_is_left(path: Path) -> None:
    from codctl.jobs.cancel import signal_holder

    signal_holder(path, signal.SIGKILL)
