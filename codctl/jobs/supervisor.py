"""The supervisor inside a SLURM job: it starts the worker, passes on requests to stop, and has the job requeued.

submitit pickles these classes, so they hold plain values only. Everything that matters lies in the run's directory:
after a node failure an old pickle is replayed, and nothing is lost by that.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from codctl.errors import CodctlError, StageError
from codctl.files import lock
from codctl.jobs import learners, nodes, worker
from codctl.plan.placement import place
from codctl.processes import Children, python_environment
from codctl.quantities import counted
from codctl.runs.directory import RunDirectory
from codctl.runs.stop import PAUSED

log = logging.getLogger("submitit")  # its handlers write into the job's log

_ASK_AGAIN_S = 2.0
_LOCK_S, _LOCK_POLL_S = 300.0, 2.0
_LOOK_S = 1.0
_LAST_WORDS_S = 30.0
_ENGINES_END_S = 20.0
_LASTED_S = 600.0  # a process for engines that failed after this time has not failed in a row
_END_S = 120.0  # longer than KillWait (30 s, usually)
_TERMINATED = 143
_OVER = ("finished", "failed", "cancelled")


@dataclass
class StageJob:
    """Works on one run until it is finished, however many starts that takes.

    On the first node of several it starts the worker, on the others a process for the engines and the learner's
    further processes.

    Attributes:
        run_dir: The run's directory.
        code: What belongs on PYTHONPATH.
        attempts_before: Attempts that there were when it was submitted.
        grace_s: How long a worker may take to save before it is ended.
        is_requeued: Whether SLURM starts the job again; otherwise it is one link of a chain.
        max_attempts: Attempts of this submission.
        stalled_attempts: Attempts in a row without progress.
    """

    run_dir: str
    code: str
    attempts_before: int = 0
    grace_s: float = 270.0
    is_requeued: bool = True
    max_attempts: int = 100
    stalled_attempts: int = 3

    def __post_init__(self) -> None:
        self._children: Children | None = None

    def __call__(self) -> None:
        """Start what is to run on this node and wait for it. Leaves by SystemExit with its code unless that is 0."""
        import submitit

        run = RunDirectory.open(Path(self.run_dir))
        here = submitit.JobEnvironment()
        if here.node:
            _work_along(run, list(here.hostnames), here.node, self.code)
            return
        _remove_stale_pickles()
        with nodes.announcing_the_end(run.path) if here.num_nodes > 1 else contextlib.nullcontext():
            self._work(run)

    def _work(self, run: RunDirectory) -> None:
        job = _job()
        here = run.attempts()[self.attempts_before :]
        if run.status() == "cancelled" or (here and here[-1]["outcome"] in _OVER):
            log.info("nothing to do: the run is %s", run.status())
            return
        if reason := given_up(here, run.mark(), self):
            _fail(run, job, reason)
        _wait_for_lock(run)
        command, environment = worker.command(run.path, job), python_environment(Path(self.code))
        with Children(command, [environment], grace_s=worker.GRACE_S) as self._children:
            _let_signals_in()
            code = self._children.wait()
            if code == _TERMINATED and self.is_requeued and run.stop_requested() != "cancel":
                _await_the_end()
                code = PAUSED
            if code == PAUSED:  # somebody else asked for it; the signal's handler also requeues the job
                os.kill(os.getpid(), signal.SIGUSR2)
        if code:
            _leave(code)

    def checkpoint(self) -> Any:
        """submitit calls this on USR2 (time limit, pre-emption): let the worker save, then ask to be started again.

        Returns:
            The submission that SLURM is to start again; leaves by SystemExit when it is not to.
        """
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # one is enough, and this must not be interrupted by itself
        if self._children is not None:
            code = self._pause(self._children)
            if code not in (PAUSED, _TERMINATED, None):
                _leave(code)
        if not self.is_requeued:
            log.info("paused; the next job of the chain continues")
            _leave(PAUSED)
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(replace(self))

    def _pause(self, children: Children) -> int | None:
        """Ask until the worker has ended; None when it had to be made to."""
        run = RunDirectory.open(Path(self.run_dir))
        deadline = time.monotonic() + self.grace_s
        if (code := children.wait(0)) is not None:
            return code
        while time.monotonic() < deadline:
            if run.stop_requested() is None:  # a worker that has only just begun takes old requests away
                run.request_stop("pause", by=f"SLURM job {_job()}")
            if (code := children.wait(_ASK_AGAIN_S)) is not None:
                return code
        log.warning("the worker did not save within %.0f s; the run continues from its last checkpoint", self.grace_s)
        children.stop()
        return None


@dataclass
class CommandJob:
    """Runs a command once, in a job of one node.

    Attributes:
        argv: The command line.
        code: What belongs on PYTHONPATH.
    """

    argv: Sequence[str]
    code: str

    def __call__(self) -> None:
        """Run it. Leaves by SystemExit with its code unless that is 0."""
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # it has nothing to save, and submitit would end it
        with Children(self.argv, [python_environment(Path(self.code))], grace_s=worker.GRACE_S) as children:
            code = children.wait()
        if code:
            _leave(code)


def given_up(attempts: Sequence[Mapping[str, Any]], mark: str, job: StageJob) -> str:
    """Why a run should not be started once more; empty when it should.

    Args:
        attempts: Records of this submission's attempts so far.
        mark: How far the run is now.
        job: Holds the limits.
    """
    if len(attempts) >= job.max_attempts:
        return f"not finished after {counted(len(attempts), 'attempt')} of this submission (cluster.max_attempts)"
    recent = attempts[-job.stalled_attempts :]
    if len(recent) == job.stalled_attempts and {attempt["mark"] for attempt in recent} == {mark}:
        return f"no progress in {counted(len(recent), 'attempt')}: still at {mark}"
    return ""


def _work_along(run: RunDirectory, names: Sequence[str], node: int, code: str) -> None:
    """Start what this node has for the first one, and stay until the first node's work is over.

    Leaves by SystemExit with the code of one that failed, which ends the job on all nodes; but the first node, which
    notices too, may say why before.
    """
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # the first node saves
    where, here = place(run.config()), python_environment(Path(code))
    with contextlib.ExitStack() as stack:
        started: list[Children | _Engines] = []
        if where.engine_nodes > 1:
            command, most = nodes.engines_command(run.path, node, names), run.config().engine.restarts
            started.append(stack.enter_context(_Engines(run.path, node, command, here, most)))
        failed = _until(lambda: nodes.announced(run.path) is not None or nodes.is_over(run.path), started)
        if not failed and (port := nodes.announced(run.path)) is not None and not nodes.is_over(run.path):
            processes = len(where.learners)
            environments = [
                here
                | learners.torchrun_environment(
                    nodes=names, node=node, processes=processes, local_rank=local_rank, port=port
                )
                for local_rank in range(processes)
            ]
            learning = Children(learners.command(run.path), environments, grace_s=worker.LEARNER_GRACE_S)
            started.append(stack.enter_context(learning))
            failed = _until(lambda: nodes.is_over(run.path), started)
        if not failed and where.engine_nodes > 1:
            started[0].wait(_ENGINES_END_S)
    if failed:
        deadline = time.monotonic() + _LAST_WORDS_S
        while not nodes.is_over(run.path) and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        _leave(failed)


class _Engines:
    """The process for a node's engines, which is started again when it fails; rank 0 then brings it up to date.

    Args:
        run: Folder of the run.
        node: Place of this node in the job.
        command: Its command line.
        environment: Its environment.
        most: Starts after failures in a row, where a process that has lasted begins a new row.
    """

    def __init__(self, run: Path, node: int, command: Sequence[str], environment: Mapping[str, str], most: int) -> None:
        self._run, self._node, self._command, self._environment = run, node, command, environment
        self._left = self._most = most
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> _Engines:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def wait(self, deadline_s: float | None = None) -> int | None:
        """As `Children.wait`, but for a failure after which it was started again: None."""
        code = self._now.wait(deadline_s)
        if not code:
            return code
        if time.monotonic() - self._began >= _LASTED_S:
            self._left = self._most
        if not self._left:
            nodes.give_up_engines(self._run, self._node, f"their process ended with exit code {code}")
            return code
        self._left -= 1
        log.warning("the process for the engines ended with exit code %d and is started again", code)
        self._stack.close()
        self._start()
        return None

    def _start(self) -> None:
        self._began = time.monotonic()
        children = Children(self._command, [self._environment], grace_s=worker.LEARNER_GRACE_S)
        self._now = self._stack.enter_context(children)


def _until(is_done: Callable[[], bool], started: Sequence[Children | _Engines]) -> int:
    """Wait; the exit code of processes that fail before."""
    while not is_done():
        for children in started:
            if code := children.wait(0):
                return code
        time.sleep(_LOOK_S)
    return 0


def _fail(run: RunDirectory, job: str, reason: str) -> NoReturn:
    """Record an attempt that fails, so that everybody who reads the run's files knows why it stopped."""
    hint = "a longer cluster.time, or a smaller train.checkpoint_every; see `codctl logs`"
    try:
        with run.start_attempt(job):
            raise StageError(reason, where=str(run.path), hint=hint)
    except CodctlError as error:
        log.error("%s", error.message)
        _leave(error.exit_code)
    raise AssertionError


def _leave(code: int) -> NoReturn:
    """End the job with this code. Not an exception that submitit would record as its own failure."""
    raise SystemExit(code)


def _let_signals_in() -> None:
    """From here on submitit's handler answers; until the worker was up, job_entry has held them back."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})


def _await_the_end() -> None:
    """The worker got SIGTERM, which this process ignores: SLURM pre-empts, requeues or cancels the job.

    Ending now would look like a failure, and asking to be requeued might bring a cancelled job back. So SLURM's own end
    is waited for; when it does not come, the signal came from somewhere else.
    """
    log.info("the worker was terminated; waiting for SLURM to end the job")
    time.sleep(_END_S)


def _wait_for_lock(run: RunDirectory) -> None:
    """A worker on a node that SLURM has given up may still be about to end."""
    deadline = time.monotonic() + _LOCK_S
    if lock.is_locked(run.lock_path):
        log.warning("the run is in use; waiting up to %.0f s", _LOCK_S)
    while lock.is_locked(run.lock_path) and time.monotonic() < deadline:
        time.sleep(_LOCK_POLL_S)


def _job() -> str:
    """This job's id as squeue shows it: `12`, of an array `12_3`."""
    array, element = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{element}" if array else os.environ["SLURM_JOB_ID"]


def _remove_stale_pickles() -> None:
    """submitit refuses to write over what a killed job left half written."""
    for path in Path(os.environ["SUBMITIT_FOLDER"]).glob(f"{_job()}_*.save_tmp"):
        path.unlink(missing_ok=True)
