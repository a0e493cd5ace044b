"""Jobs on this machine: a pool of child processes, of which none survives its parent.

A child's exit and a signal to the parent both arrive in one queue, which `run_all` reads: it reacts at once, polls
nothing, and no callback of its caller is cut short by Ctrl-C.
"""

from __future__ import annotations

import contextlib
import queue
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Literal, Self

from codctl.errors import CodctlError
from codctl.jobs import worker
from codctl.jobs.slots import Pool, Share, Slots
from codctl.processes import Child, last_lines, python_environment, tail
from codctl.quantities import counted
from codctl.runs import attempt
from codctl.runs.logs import WORKER_LOG
from codctl.runs.signals import Terminated

__all__ = ["Job", "Slots", "run_all"]

END_S = worker.GRACE_S  # for children to save and end when asked to, or when this process has died
_KILL_S = 5.0  # for the kernel to carry out SIGKILL
_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ALIKE = 3  # as many first jobs with one and the same error speak against the rest

# Finished, paused, cancelled or Ctrl-C, terminated: ended as ordered.
_ORDERED = (0, 75, 130, 143)
_SIGNALLED = 128


@dataclass(frozen=True)
class Job:
    """One run to carry out.

    Args:
        run: Its run directory.
        gpus: Whole GPUs that it needs.
        threads: CPU threads that it uses.
    """

    run: Path
    gpus: int = 0
    threads: int = 1


@dataclass(frozen=True)
class _Child:
    job: Job
    share: Share
    before: _Before
    process: Child


OnChange = Callable[[Job, int | Literal["started"]], None]
Events = queue.SimpleQueue[int | Job]  # a signal that arrived, or a job whose process has ended


def run_all(
    jobs: Sequence[Job],
    *,
    code: Path,
    slots: Slots,
    say: Callable[[str], None],
    on_change: OnChange,
    max_failures: int | None = None,
    may_start: Callable[[], bool] = lambda: True,
    command: Callable[[Path], Sequence[str]] = worker.command,
) -> dict[Path, int]:
    """Run jobs in the foreground, as many at a time as there are slots, and wait for all of them.

    What the children print is appended to `worker.log` in each run's directory.

    Args:
        jobs: In the order in which to start them; one that fits may overtake one that waits for GPUs.
        code: The code snapshot that they run, as PYTHONPATH.
        slots: What may be shared out.
        say: Called with what the user should read once.
        on_change: Called with "started", and with the exit code when the job has ended (128 + n for signal n).
        max_failures: Start no more after so many failed jobs; those that run may finish.
        may_start: Asked before each start; once it says no, nothing more is started.
        command: The command line for a run directory.

    Returns:
        Exit codes by run directory, without the jobs that were never started.

    Raises:
        PreflightError: A job needs more GPUs than there are.
        KeyboardInterrupt: After Ctrl-C, when all children have ended.
        Terminated: After SIGTERM or SIGHUP, likewise.
    """
    slots.require(max((job.gpus for job in jobs), default=0))
    events: Events = queue.SimpleQueue()
    with _signals_into(events):

        def start(job: Job, share: Share) -> _Child:
            before = _Before.of(job.run)
            process = Child.start(
                command(job.run.absolute()),
                env=python_environment(code) | share.environment,
                log=job.run / WORKER_LOG,
                grace_s=END_S,
                on_exit=lambda: events.put(job),
            )
            return _Child(job, share, before, process)

        runner = _Runner(jobs, Pool(slots), events, start, say, on_change, _Failures(max_failures), may_start)
        codes = runner.run()
    while not events.empty():  # Ctrl-C in the very last moment
        if isinstance(event := events.get(), int):
            _raise_for(event)
    return codes


class _Runner:
    def __init__(
        self,
        jobs: Sequence[Job],
        pool: Pool,
        events: Events,
        start: Callable[[Job, Share], _Child],
        say: Callable[[str], None],
        on_change: OnChange,
        failures: _Failures,
        may_start: Callable[[], bool],
    ) -> None:
        self._waiting = list(dict.fromkeys(jobs))  # the same job twice is one job
        self._running: dict[Job, _Child] = {}
        self._codes: dict[Path, int] = {}
        self._pool = pool
        self._events = events
        self._start_child = start
        self._say = say
        self._on_change = on_change
        self._failures = failures
        self._may_start = may_start

    def run(self) -> dict[Path, int]:
        try:
            while True:
                self._fill()
                if not self._running and self._events.empty():
                    return self._codes
                event = self._events.get()
                if isinstance(event, int):
                    _raise_for(event)
                else:
                    self._collect(self._running[event])
        except BaseException:
            self._end_in_good_order()
            raise
        finally:
            self._kill()

    def _fill(self) -> None:
        """Start what fits; news come first."""
        while self._waiting and self._events.empty():
            why = self._failures.why_stop() or ("" if self._may_start() else "stop requested")
            if why:
                self._say(f"starting no more jobs ({len(self._waiting)} left): {why}")
                self._waiting.clear()
            elif (found := self._next_that_fits()) is not None:
                self._start(*found)
            else:
                return

    def _next_that_fits(self) -> tuple[Job, Share] | None:
        for job in self._waiting:
            if share := self._pool.take(job.gpus, job.threads):
                self._waiting.remove(job)
                return job, share
        return None

    def _start(self, job: Job, share: Share) -> None:
        try:
            self._running[job] = self._start_child(job, share)
        except CodctlError as error:
            self._pool.give_back(share)
            self._say(f"{job.run.name} could not start: {error.message}")
            self._ended(job, error.exit_code, error.message)
        else:
            self._on_change(job, "started")

    def _collect(self, child: _Child, timeout_s: float | None = None) -> None:
        """Take note of a child that has ended."""
        code = child.process.wait(timeout_s)
        if code is None:
            self._say(f"process {child.process.pid} of {child.job.run.name} does not end; inspect it with ps")
            return
        del self._running[child.job]
        self._pool.give_back(child.share)
        self._ended(child.job, code, _reason(child.job.run, child.before))

    def _ended(self, job: Job, code: int, why: str) -> None:
        self._codes[job.run] = code
        self._failures.count(code, why)
        self._on_change(job, code)

    def _end_in_good_order(self) -> None:
        """Ask all children to stop, and give them time; a second Ctrl-C takes it back."""
        for child in self._running.values():
            child.process.signal(signal.SIGTERM)
        deadline = time.monotonic() + END_S
        with contextlib.suppress(OSError):  # the terminal may be what has gone
            if self._running:
                jobs = counted(len(self._running), "job")
                self._say(f"saving and stopping {jobs}, within {END_S:.0f} s; Ctrl-C again ends at once")
        while self._running:
            try:
                event = self._events.get(timeout=max(deadline - time.monotonic(), 0))
            except queue.Empty:
                return
            if event == signal.SIGINT:
                return
            if isinstance(event, Job):
                with contextlib.suppress(OSError):
                    self._collect(self._running[event])

    def _kill(self) -> None:
        """End what still runs, now."""
        for child in self._running.values():
            child.process.signal(signal.SIGKILL)
        for child in list(self._running.values()):
            with contextlib.suppress(OSError):
                self._collect(child, _KILL_S)


@contextlib.contextmanager
def _signals_into(events: Events) -> Iterator[None]:
    """Put signals that ask to stop into the queue, but those that are ignored (nohup) stay ignored."""

    def put(number: int, _frame: FrameType | None) -> None:
        events.put(int(number))

    found = {number: signal.getsignal(number) for number in _STOPS}
    replaced = {number: handler for number, handler in found.items() if handler not in (signal.SIG_IGN, None)}
    if threading.current_thread() is not threading.main_thread():
        replaced = {}  # only the main thread may, and signals reach only it
    for number in replaced:
        signal.signal(number, put)
    try:
        yield
    finally:
        for number, handler in replaced.items():
            signal.signal(number, handler)


def _raise_for(number: int) -> None:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise Terminated(128 + number)


@dataclass(frozen=True)
class _Before:
    """How a run stood when a job for it began, to tell the job's words from older ones.

    Attributes:
        attempts: How many there were.
        log_bytes: Size of `worker.log`.
    """

    attempts: int = 0
    log_bytes: int = 0

    @classmethod
    def of(cls, run: Path) -> Self:
        log = run / WORKER_LOG
        return cls(attempt.count(run), log.stat().st_size if log.is_file() else 0)


class _Failures:
    """Counts how jobs ended.

    Args:
        max_failures: Failed jobs after which no more are started; None: no limit.
    """

    def __init__(self, max_failures: int | None) -> None:
        self._max = max_failures
        self._failed = 0
        self._ended = 0
        self._reasons: set[str] = set()

    def count(self, code: int, why: str) -> None:
        """Note that a job ended with this exit code, and what it said about it."""
        self._ended += 1
        failed = code not in _ORDERED
        self._failed += failed
        if self._ended <= ALIKE:
            # Killed by a signal: that says nothing about the jobs to come.
            self._reasons.add(why if failed and code < _SIGNALLED else "")

    def why_stop(self) -> str:
        """Why no more jobs should be started; empty when there is no reason."""
        if self._max is not None and self._failed >= max(self._max, 1):
            return f"{self._failed} failed, and max_failures is {self._max}"
        if self._ended >= ALIKE and len(self._reasons) == 1 and (one := next(iter(self._reasons))):
            return f"the first {ALIKE} failed in the same way: {one}"
        return ""


def _reason(run: Path, before: _Before) -> str:
    """The last line that a failed job said about its end, without the run's own name; empty when it said nothing."""
    number = attempt.count(run)
    message = attempt.read(run, number)["message"] if number > before.attempts else ""
    lines = last_lines(str(message)) or last_lines(tail(run / WORKER_LOG, before.log_bytes))
    own = rf"{re.escape(str(run))}|(?<![\w-]){re.escape(run.name)}(?![\w-])"
    return re.sub(own, "RUN", lines[-1]) if lines else ""
