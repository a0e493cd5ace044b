"""Cancelling: asked first, made to when there is no answer, and never the wrong process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from codctl.dispatch import cancel as module
from codctl.dispatch.cancel import Outcome, cancel
from codctl.dispatch.holder import holder_of
from codctl.dispatch.jobs import Jobs
from codctl.runs import stop
from codctl.runs.directory import RunDirectory
from tests.dispatch.many_trials import bring_to, holding, make_run

Start = Callable[..., subprocess.Popen[bytes]]

# A run's worker without the work. `deaf` looks at no request, `stubborn` does not even mind SIGTERM.
WORKER = """
import signal, subprocess, sys, time
from pathlib import Path
from codctl.runs.directory import RunDirectory
kind, run = sys.argv[1], RunDirectory.open(Path(sys.argv[2]))
if kind == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
with run.start_attempt():
    child = subprocess.Popen(["sleep", "60"])
    (run.path / "child").write_text(str(child.pid))
    while True:
        if kind == "polite" and run.stop_requested():
            time.sleep(1)  # saving takes a while, also where the test gets little of the processor
            child.kill()
            child.wait()
            run.check_stop()
        time.sleep(0.01)
"""


@pytest.fixture
def start(until) -> Iterator[Start]:
    """Start a worker on a run; it leads a session as one in the background does, unless told otherwise."""
    started: list[subprocess.Popen[bytes]] = []

    def call(run: RunDirectory, kind: str, *, session: bool = True) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", WORKER, kind, str(run.path)]
        process = subprocess.Popen(command, start_new_session=session)
        started.append(process)
        until(lambda: (run.path / "child").is_file() and (run.path / "child").read_text(), "the worker's start")
        return process

    yield call
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()


def call(*runs: RunDirectory, sweeps: tuple[Path, ...] = (), deadline_s: float = 10.0) -> tuple[Outcome, list[str]]:
    said: list[str] = []
    return cancel(runs, sweeps, Jobs(), deadline_s=deadline_s, say=said.append, poll_s=0.01), said


def test_a_worker_that_looks_stops_by_itself_and_can_be_resumed(tmp_path: Path, start: Start) -> None:
    run = make_run(tmp_path, "a")
    process = start(run, "polite")
    found, said = call(run)
    assert found == Outcome(cancelled=["a"])
    assert process.wait(60) == stop.CANCELLED
    assert said == ["waiting up to 10 s for a to save and stop"]
    assert run.status() == run.attempts()[0]["outcome"] == "cancelled"
    run.clear_stop()
    with run.start_attempt():
        pass
    assert run.status() == "finished"


def test_what_does_not_answer_is_ended_with_its_children(tmp_path: Path, start: Start, lives, until) -> None:
    run = make_run(tmp_path, "a")
    process = start(run, "deaf")
    found, said = call(run, deadline_s=0.1)
    assert found.cancelled == ["a"]
    assert process.wait(60) == 128 + signal.SIGTERM
    assert f"process {process.pid} on" in said[1]
    assert "did not stop: ending it" in said[1]
    assert (run.status(), run.attempts()[0]["outcome"]) == ("cancelled", "interrupted")
    until(lambda: not lives(int((run.path / "child").read_text())), "the end of its child")


def test_what_ignores_even_that_is_killed(tmp_path: Path, start: Start, lives, until, monkeypatch) -> None:
    monkeypatch.setattr(module, "END_S", 0.1)
    run = make_run(tmp_path, "a")
    process = start(run, "stubborn")
    found, _ = call(run, deadline_s=0.0)
    assert found.cancelled == ["a"]
    assert process.wait(60) == -signal.SIGKILL
    assert (run.status(), run.attempts()[0]["outcome"]) == ("cancelled", "died")
    until(lambda: not lives(int((run.path / "child").read_text())), "the end of its child")


def test_a_command_in_a_terminal_is_ended_without_its_neighbours(tmp_path: Path, start: Start, lives) -> None:
    run = make_run(tmp_path, "a")
    process = start(run, "deaf", session=False)  # in the process group of this very test
    assert call(run, deadline_s=0.0)[0].cancelled == ["a"]
    assert process.wait(60) == 128 + signal.SIGTERM
    child = int((run.path / "child").read_text())
    assert lives(child)
    os.kill(child, signal.SIGKILL)


def test_runs_that_are_over_are_left_alone(tmp_path: Path) -> None:
    runs = []
    for state in ("finished", "failed", "cancelled"):
        runs.append(make_run(tmp_path, state))
        bring_to(runs[-1], state)
    before = [(run.path / "stop.json").exists() for run in runs]
    found, said = call(*runs)
    assert found == Outcome(already={"finished": "finished", "failed": "failed", "cancelled": "cancelled"})
    assert said == []
    assert [(run.path / "stop.json").exists() for run in runs] == before


def test_a_run_on_another_machine_is_asked_and_the_machine_is_named(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(module, "END_S", 0.05)
    monkeypatch.setattr(module, "_KILL_S", 0.05)
    run = make_run(tmp_path, "a")
    bring_to(run, "running")
    with holding(run.path):
        run.lock_path.write_text(json.dumps({"pid": os.getpid(), "host": "node17"}))
        found, _ = call(run, deadline_s=0.0)
    assert found == Outcome(left={"a": f"process {os.getpid()} on node17"})
    assert run.stop_requested() == "cancel"


def test_a_process_that_only_got_the_number_is_no_holder(tmp_path: Path) -> None:
    run = make_run(tmp_path, "a")
    with holding(run.path), subprocess.Popen(["sleep", "60"]) as stranger:
        assert holder_of(run.lock_path) is not None
        content = json.loads(run.lock_path.read_text())
        run.lock_path.write_text(json.dumps({**content, "pid": stranger.pid}))
        assert holder_of(run.lock_path) is None
        stranger.kill()
    assert holder_of(run.lock_path) is None


def test_a_sweep_starts_nothing_more_and_its_launcher_ends(tmp_path: Path, start: Start) -> None:
    sweep = tmp_path / "sweeps" / "s"
    first, second = make_run(tmp_path, "first", sweep), make_run(tmp_path, "second", sweep)
    start(first, "polite")
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCHER, str(sweep)], stdout=subprocess.PIPE)
    assert launcher.stdout is not None
    launcher.stdout.readline()
    found, said = call(sweeps=(sweep,), deadline_s=0.2)
    launcher.stdout.close()
    assert found == Outcome(cancelled=["s/first", "s/second"])
    assert launcher.wait(60) == -signal.SIGTERM
    assert any("the launcher of s" in text for text in said)
    request = stop.read(sweep)
    assert request is not None
    assert request.kind == "cancel"
    assert {first.status(), second.status()} == {"cancelled"}


LAUNCHER = """
import sys, time
from pathlib import Path
from codctl.runs.lock import RunLock
with RunLock(Path(sys.argv[1]) / "lock"):
    print("up", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A squeue that says what lies in `queue`, and a scancel that ends the process of `job` and notes what it got."""
    folder = tmp_path / "bin"
    folder.mkdir()
    programs = {
        "squeue": f"cat {tmp_path}/queue",
        "scancel": f'echo "$@" >> {tmp_path}/scancelled; if [ -f {tmp_path}/job ]; then kill $(cat {tmp_path}/job); fi',
    }
    for name, body in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return tmp_path


def test_a_job_that_waits_leaves_the_queue_at_once(cluster: Path) -> None:
    run = make_run(cluster / "runs", "a")
    bring_to(run, "queued")
    (cluster / "queue").write_text("7_1|PENDING|Resources|\n")
    found, said = call(run, deadline_s=60.0)
    assert (found, said) == (Outcome(cancelled=["a"]), [])
    assert (cluster / "scancelled").read_text().split()[-1] == "7_1"
    assert run.status() == "cancelled"


@pytest.mark.parametrize("kind", ["polite", "deaf"])
def test_a_job_that_runs_has_time_to_save_before_scancel(cluster: Path, start: Start, kind: str) -> None:
    run = make_run(cluster / "runs", "a")
    run.write_dispatch({"where": "slurm", "jobs": ["7_1"]})
    process = start(run, kind)
    (cluster / "job").write_text(str(process.pid))
    (cluster / "queue").write_text("7_1|RUNNING||n1\n")
    found, _ = call(run, deadline_s=10.0 if kind == "polite" else 0.2)
    assert found == Outcome(cancelled=["a"])
    assert (cluster / "scancelled").exists() == (kind == "deaf")
    assert run.attempts()[0]["outcome"] == ("cancelled" if kind == "polite" else "interrupted")
    assert run.status() == "cancelled"
