"""Cancelling: asked first, made to when there is no answer, and never the wrong process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from codctl.errors import RefusedError
from codctl.jobs import cancel as module
from codctl.jobs import slurm
from codctl.jobs.cancel import Outcome, cancel, holder_of, signal_holder
from codctl.jobs.jobs import Jobs
from codctl.jobs.status import status_of
from codctl.runs import stop
from codctl.runs.directory import RunDirectory
from tests.jobs.conftest import Clients, squeue_line
from tests.jobs.many_trials import bring_to, holding, make_run

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
    return cancel(runs, sweeps, Jobs(every_s=0.2), deadline_s=deadline_s, say=said.append, poll_s=0.01), said


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
    assert found == Outcome(left={"a": f"process {os.getpid()} on node17 is still running it"})
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
from codctl.files.lock import RunLock
with RunLock(Path(sys.argv[1]) / "lock"):
    print("up", flush=True)
    time.sleep(60)
"""


def test_a_job_that_waits_leaves_the_queue_at_once(tmp_path: Path, clients: Clients) -> None:
    run = make_run(tmp_path / "runs", "a")
    bring_to(run, "queued")
    clients.queued(squeue_line("7_1", "PENDING", run.path, reason="Resources"))
    assert call(run, deadline_s=60.0) == (Outcome(cancelled=["a"]), [])
    assert clients.scancelled == ["7_1"]
    assert run.status() == "cancelled"


@pytest.mark.parametrize("kind", ["polite", "deaf"])
def test_a_job_that_runs_has_time_to_save_before_scancel(
    tmp_path: Path, clients: Clients, start: Start, kind: str
) -> None:
    run = make_run(tmp_path / "runs", "a")
    run.write_dispatch({"where": "slurm", "jobs": ["7_1"]})
    process = start(run, kind)
    (tmp_path / "job").write_text(str(process.pid))
    clients.queued(squeue_line("7_1", "RUNNING", run.path, node="n1"))
    found, _ = call(run, deadline_s=10.0 if kind == "polite" else 0.2)
    assert found == Outcome(cancelled=["a"])
    assert clients.scancelled == ([] if kind == "polite" else ["7_1"])
    assert run.attempts()[0]["outcome"] == ("cancelled" if kind == "polite" else "interrupted")
    assert run.status() == "cancelled"


@pytest.mark.parametrize("before", ["queued", "cancelled"])
def test_a_job_that_sets_up_has_nothing_to_save_and_is_ended_at_once(
    tmp_path: Path, clients: Clients, before: str
) -> None:
    """Also one that goes on with a run whose earlier attempt was cancelled."""
    run = make_run(tmp_path / "runs", "a")
    bring_to(run, before)
    run.clear_stop()
    run.write_dispatch({"where": "slurm", "jobs": ["7"]})
    clients.queued(squeue_line("7", "RUNNING", run.path, node="n1"))
    assert call(run, deadline_s=600.0) == (Outcome(cancelled=["a"]), [])
    assert clients.scancelled == ["7"]


def test_a_job_that_is_being_requeued_does_not_come_back(tmp_path: Path, clients: Clients) -> None:
    """Its node was lost: the attempt never said how it ended."""
    run = make_run(tmp_path / "runs", "a")
    run.write_dispatch({"where": "slurm", "jobs": ["7"]})
    bring_to(run, "running")
    clients.queued(squeue_line("7", "COMPLETING", run.path, node="n1"))
    assert call(run, deadline_s=600.0) == (Outcome(cancelled=["a"]), [])
    assert clients.scancelled == ["7"]


def test_a_job_that_does_not_end_is_not_called_cancelled(tmp_path: Path, clients: Clients, monkeypatch) -> None:
    monkeypatch.setattr(module, "END_S", 0.05)
    monkeypatch.setattr(module, "_KILL_S", 0.05)
    clients.program("scancel", "true")
    run = make_run(tmp_path / "runs", "a")
    bring_to(run, "queued")
    clients.queued(squeue_line("7_1", "RUNNING", run.path, node="n1"))
    found, _ = call(run, deadline_s=0.0)
    assert found == Outcome(left={"a": "its job 7_1 is still RUNNING on n1"})
    assert status_of(run, Jobs()) == "running"  # and can be cancelled again


def test_a_silent_scheduler_is_no_proof_that_a_job_has_gone(tmp_path: Path, clients: Clients) -> None:
    run = make_run(tmp_path / "runs", "a")
    bring_to(run, "queued")
    clients.program("squeue", "exit 1")
    for _ in range(2):
        found, _ = call(run)
        assert found == Outcome(left={"a": "SLURM could not be asked about its job 7_1, which may still wait or run"})
    clients.program("squeue", "true")
    assert call(run)[0] == Outcome(already={"a": "cancelled"})
    assert clients.scancelled == []


def test_the_later_jobs_of_a_chain_leave_the_queue_while_the_first_one_saves(
    tmp_path: Path, clients: Clients, start: Start
) -> None:
    run = make_run(tmp_path / "runs", "a")
    run.write_dispatch({"where": "slurm", "jobs": ["7", "8", "9"]})
    process = start(run, "polite")
    (tmp_path / "job").write_text(str(process.pid))
    waits = [squeue_line(job, "PENDING", run.path, reason="Dependency") for job in ("8", "9")]
    clients.queued(squeue_line("7", "RUNNING", run.path), *waits)
    assert call(run)[0] == Outcome(cancelled=["a"])
    assert clients.scancelled == ["8", "9"]


NOT_OURS = {
    "of another run": {"run": "other"},
    "of another user": {"owner": 54321},
}


@pytest.mark.parametrize("about", NOT_OURS.values(), ids=NOT_OURS)
@pytest.mark.parametrize("state", ["PENDING", "RUNNING"])
def test_a_job_with_the_same_id_is_left_alone(
    tmp_path: Path, clients: Clients, about: dict[str, Any], state: str
) -> None:
    run = make_run(tmp_path / "runs", "a")
    bring_to(run, "queued")
    whose = run.path.with_name(about.get("run", "a"))
    clients.queued(squeue_line("7_1", state, whose, owner=about.get("owner"), name="precious"))
    jobs = Jobs()
    assert status_of(run, jobs) == "died"
    [note] = jobs.notes
    assert note.startswith("job 7_1 in dispatch.json is another job now (precious, of user")
    assert call(run)[0] == Outcome(already={"a": "died"})
    assert clients.scancelled == []


def test_a_folder_of_jobs_that_is_a_link_proves_nothing(tmp_path: Path, clients: Clients) -> None:
    run, gift = make_run(tmp_path / "runs", "a"), make_run(tmp_path / "runs", "gift")
    (run.path / "slurm").mkdir()
    (gift.path / "slurm").symlink_to(run.path / "slurm")
    bring_to(gift, "queued")
    clients.queued(squeue_line("7_1", "PENDING", run.path))
    assert status_of(gift, Jobs()) == "died"
    assert call(gift)[0] == Outcome(already={"gift": "died"})
    assert clients.scancelled == []


def test_a_trial_that_is_a_link_is_not_cancelled_with_its_sweep(tmp_path: Path, start: Start) -> None:
    run, sweep = make_run(tmp_path, "a"), tmp_path / "sweeps" / "gift"
    process = start(run, "polite")
    (sweep / "trials").mkdir(parents=True)
    (sweep / "trials" / "a").symlink_to(run.path)
    assert call(sweeps=(sweep,))[0] == Outcome(already={"gift/a": "unreadable"})
    assert (process.poll(), run.stop_requested()) == (None, None)


def test_an_earlier_submission_of_the_same_run_is_another_job(tmp_path: Path, clients: Clients) -> None:
    run = make_run(tmp_path / "runs", "a")
    for scripts, status in {(".submission_file_0a.sh",): "queued", (".submission_file_0b.sh",): "died"}.items():
        run.write_dispatch({"where": "slurm", "jobs": ["7"], "scripts": scripts, "cluster": "here"})
        clients.queued(squeue_line("7", "PENDING", run.path))
        assert status_of(run, Jobs()) == status


def test_a_run_of_another_cluster_is_not_looked_for_here(tmp_path: Path, clients: Clients) -> None:
    run = make_run(tmp_path / "runs", "a")
    run.write_dispatch({"where": "slurm", "jobs": ["7"], "cluster": "there"})
    clients.queued(squeue_line("7", "PENDING", run.path))
    jobs = Jobs()
    assert status_of(run, jobs) == "queued"
    assert jobs.notes == ["job 7 was submitted to the cluster there; SLURM on this machine is here"]
    assert call(run)[0].left == {"a": "SLURM could not be asked about its job 7, which may still wait or run"}
    assert clients.scancelled == []


@pytest.mark.parametrize("strange", ["12+0", "--user=root", "-1", "0", "1_", "1 2", "1" * 20, "٣", 7, None, ["7"]])
def test_what_is_no_id_reaches_no_program(tmp_path: Path, clients: Clients, strange: Any) -> None:
    run = make_run(tmp_path / "runs", "a")
    run.write_dispatch({"where": "slurm", "jobs": [strange]})
    clients.program("squeue", f"touch {tmp_path}/asked")
    assert call(run)[0] == Outcome(already={"a": "unreadable"})
    assert not (tmp_path / "asked").exists()
    assert clients.scancelled == []
    with pytest.raises(RefusedError, match="is not the id of a SLURM job"):
        slurm.Slurm().cancel(["7", strange])


def test_a_copied_run_has_no_jobs(tmp_path: Path, clients: Clients) -> None:
    run = make_run(tmp_path / "runs", "a")
    bring_to(run, "queued")
    clients.queued(squeue_line("7_1", "PENDING", run.path))
    copy = RunDirectory(shutil.copytree(run.path, run.path.with_name("b")))
    assert call(copy)[0] == Outcome(cancelled=["b"])
    assert clients.scancelled == []
    assert status_of(run, Jobs()) == "queued"


def test_a_moved_run_keeps_its_jobs(tmp_path: Path, clients: Clients) -> None:
    run = make_run(tmp_path / "runs", "a")
    run.write_dispatch({"where": "slurm", "jobs": ["7"], "scripts": [".submission_file_0a.sh"]})
    clients.queued(squeue_line("7", "PENDING", run.path))
    moved = RunDirectory(run.path.rename(tmp_path / "elsewhere"))
    assert status_of(moved, Jobs()) == "queued"
    assert call(moved)[0] == Outcome(cancelled=["elsewhere"])
    assert clients.scancelled == ["7"]


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_the_holder_of_a_lock_that_is_a_link_is_left_alone(tmp_path: Path, start: Start, link: Any) -> None:
    run, gift = make_run(tmp_path, "a"), make_run(tmp_path, "gift")
    process = start(run, "deaf")
    link(run.lock_path, gift.lock_path)
    assert holder_of(gift.lock_path) is None
    assert not signal_holder(gift.lock_path, signal.SIGTERM)
    assert process.poll() is None


def test_a_stopped_process_is_woken_and_saves(tmp_path: Path, start: Start) -> None:
    run = make_run(tmp_path, "a")
    process = start(run, "polite")
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    found, said = call(run)
    assert found == Outcome(cancelled=["a"])
    assert "was stopped by a signal: it was woken to save" in said[0]
    assert process.wait(60) == stop.CANCELLED
    assert run.attempts()[0]["outcome"] == "cancelled"
