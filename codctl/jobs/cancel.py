"""Stop runs and sweeps wherever they are: with a request first, by a signal or scancel when there is no answer.

The request lies on disk. A worker finds it between two steps, saves and stops. Jobs whose worker is not up yet have
nothing to save and are ended at once, as are those that wait in the queue. After the deadline the rest is ended too; it
can be resumed from its last checkpoint. A run is only said to be cancelled when neither a process nor a job is left.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from codctl.errors import CodctlError
from codctl.files import lock
from codctl.jobs.jobs import Jobs
from codctl.jobs.status import RunStatus, ask_launchers, read_status
from codctl.runs import stop
from codctl.runs.directory import RunDirectory, trials_of
from codctl.runs.own_jobs import Job

if TYPE_CHECKING:
    from codctl.jobs.launcher import JobState

END_S = 20.0  # between SIGTERM and SIGKILL, and for the scheduler to end a job
_KILL_S = 5.0
_POLL_S = 0.2
_SAY_EVERY_S = 10.0
_MANY = 50
_STOPPABLE = ("planned", "queued", "running", "paused")


@dataclass
class Outcome:
    """What cancelling came to.

    Attributes:
        cancelled: Names of the runs that are stopped now and were not before.
        already: Those that there was nothing to stop of, with their status.
        left: Those that may still run, with what is left of them.
    """

    cancelled: list[str] = field(default_factory=list)
    already: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)


def cancel(
    runs: Sequence[RunDirectory],
    sweeps: Sequence[Path],
    jobs: Jobs,
    *,
    deadline_s: float,
    say: Callable[[str], None],
    poll_s: float = _POLL_S,
) -> Outcome:
    """Stop these runs, and these sweeps with all their trials.

    Args:
        runs: Single runs.
        sweeps: Folders of sweeps; nothing further of them is started.
        jobs: The scheduler.
        deadline_s: Time to save.
        say: Told what is waited for.
        poll_s: Between two looks.
    """
    every = [*runs, *(trial for sweep in sweeps for trial in trials_of(sweep))]
    seen = [read_status(run.path, run.title) for run in every]
    ask_launchers(seen, jobs)
    for sweep in sweeps:
        stop.write(sweep, "cancel")
    targets = [one for one in seen if one.status in _STOPPABLE or _is_unsure(one)]
    chosen = {one.name for one in targets}
    outcome = Outcome(already={one.name: one.status for one in seen if one.name not in chosen})
    for one in targets:
        RunDirectory(one.path).request_stop("cancel")
    stopping = _Stopping(targets, sweeps, jobs, say, poll_s)
    stopping.wake()
    stopping.end_idle_jobs()
    for wait_s, number in ((deadline_s, None), (END_S, signal.SIGTERM), (_KILL_S, signal.SIGKILL)):
        if number is not None:
            stopping.end(number)
        if stopping.wait(wait_s):
            break
    stopping.end_requeued_jobs()
    for one in stopping.look():
        if left := _what_is_left(one):
            outcome.left[one.name] = left
        else:
            outcome.cancelled.append(one.name)
    for sweep in sweeps:
        if lock.is_locked(sweep / "lock"):
            outcome.left[sweep.name] = f"{_who(sweep / 'lock')} is still running it"
    return outcome


class _Stopping:
    def __init__(
        self,
        targets: Sequence[RunStatus],
        sweeps: Sequence[Path],
        jobs: Jobs,
        say: Callable[[str], None],
        poll_s: float,
    ) -> None:
        self._targets, self._sweeps, self._jobs, self._say = targets, sweeps, jobs, say
        self._poll_s = poll_s if len(targets) < _MANY else 5 * poll_s

    def wake(self) -> None:
        """Let processes that were stopped go on: otherwise they could not save."""
        for path in self._locks(self._targets):
            if found := wake_holder(path):
                self._say(f"{found} was stopped by a signal: it was woken to save")

    def end_idle_jobs(self) -> None:
        """End the jobs that have nothing to save, and the job that would sum a sweep up."""
        idle = [job for one in self._targets for job in _idle_jobs(one)]
        for sweep in self._sweeps:
            try:
                idle += self._jobs.of_sweep(sweep)
            except CodctlError as error:
                self._say(f"the job that sums {sweep.name} up could not be found: {error.message}")
        self._scancel(idle)

    def end_requeued_jobs(self) -> None:
        """End the jobs that SLURM was about to start again, which run nothing at the moment."""
        self._scancel([job for one in self.look() for job, state in _pairs(one) if state.is_alive])

    def look(self) -> list[RunStatus]:
        """Their state now, by their files and by their scheduler."""
        found = [read_status(one.path, one.name) for one in self._targets]
        for one, before in zip(found, self._targets, strict=True):
            one.jobs = one.jobs or before.jobs  # also of a worker that has saved: its job takes a moment to end
        ask_launchers(found, self._jobs)
        return found

    def wait(self, deadline_s: float) -> bool:
        """Whether all of it stopped in time."""
        begun_s, said_s = time.monotonic(), float("-inf")
        while left := self._left():
            now_s = time.monotonic()
            if now_s - begun_s >= deadline_s:
                return False
            if now_s - said_s >= _SAY_EVERY_S:
                self._say(f"waiting up to {deadline_s - now_s + begun_s:.0f} s for {_some(left)} to save and stop")
                said_s = now_s
            time.sleep(self._poll_s)
        return True

    def end(self, number: int) -> None:
        """End what did not stop by itself: by its scheduler, or by a signal on this machine."""
        running = [one for one in self.look() if _is_running(one)]
        self._scancel([job for one in running for job in one.jobs])
        # The launcher of a sweep ends its children itself, and starts no more.
        for path in self._locks(running):
            who = _who(path)
            if signal_holder(path, number):
                wake_holder(path)
                self._say(f"{who} did not stop: {'ending' if number == signal.SIGTERM else 'killing'} it")

    def _locks(self, runs: Sequence[RunStatus]) -> list[Path]:
        return [sweep / "lock" for sweep in self._sweeps] + [one.path / "lock" for one in runs]

    def _scancel(self, jobs: Sequence[Job]) -> None:
        try:
            self._jobs.cancel(jobs)
        except CodctlError as error:
            self._say(f"jobs {_some([job.id for job in jobs])} could not be cancelled: {error.message}")

    def _left(self) -> list[str]:
        launchers = [f"the launcher of {sweep.name}" for sweep in self._sweeps if lock.is_locked(sweep / "lock")]
        return [one.name for one in self.look() if _is_running(one)] + launchers


def _is_running(seen: RunStatus) -> bool:
    return seen.status == "running" or any(state.holds for state in seen.states)


def _is_unsure(seen: RunStatus) -> bool:
    """Whether it was cancelled while its launcher could not be asked about its jobs, and still cannot."""
    return seen.status == "cancelled" and any(state.state == "unknown" for state in seen.states)


def _idle_jobs(seen: RunStatus) -> Iterator[Job]:
    """Jobs in which no worker has anything to save: they wait, or are still setting up."""
    is_up = seen.record.get("outcome") == "running"
    for job, state in _pairs(seen):
        if state.is_waiting or (state.holds and not is_up):
            yield job


def _pairs(seen: RunStatus) -> Iterator[tuple[Job, JobState]]:
    return zip(seen.jobs, seen.states, strict=True)


def _what_is_left(seen: RunStatus) -> str:
    """Why it cannot be said that it has stopped; empty when it has."""
    for state in seen.states:
        if state.holds:
            return f"its job {state.job} is still {state.state}" + (f" on {state.node}" if state.node else "")
    if seen.status == "running":
        return f"{_who(seen.path / 'lock')} is still running it"
    unknown = [state.job for state in seen.states if state.state == "unknown"]
    who = "SLURM" if seen.where == "slurm" else seen.where
    return f"{who} could not be asked about its job {unknown[0]}, which may still wait or run" if unknown else ""


def _who(path: Path) -> str:
    found = holder_of(path)
    return str(found) if found else "a process on another machine"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


@dataclass(frozen=True)
class Holder:
    """A live process that holds a lock."""

    pid: int
    host: str

    @property
    def is_here(self) -> bool:
        return self.host == socket.gethostname()

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def holder_of(path: Path) -> Holder | None:
    """The process that holds a lock now; None when none does, or it cannot be found out."""
    if not _is_plain(path) or not lock.is_locked(path):
        return None
    content = lock.read_holder(path)
    if content is None:
        return None
    found = Holder(content["pid"], content["host"])
    # The name is written just after the lock was taken: in between the file still names the holder before.
    return found if not found.is_here or _has_open(found.pid, path) else None


def signal_holder(path: Path, number: int) -> bool:
    """Send a signal to the holder of a lock on this machine, and to its process group when it leads a session.

    A worker that was started in the background leads one and may have children; a command in a terminal shares its
    group with whatever else was typed there.

    Returns:
        Whether there was one to send it to.
    """
    holder = holder_of(path)
    if holder is None or not holder.is_here or holder.pid == os.getpid():
        return False
    with contextlib.suppress(ProcessLookupError):
        if os.getsid(holder.pid) == holder.pid:
            os.killpg(holder.pid, number)
        else:
            os.kill(holder.pid, number)
    return True


def wake_holder(path: Path) -> Holder | None:
    """Let the holder of a lock on this machine go on when it was stopped (SIGSTOP, Ctrl-Z), with its process group.

    Returns:
        The holder if it was stopped.
    """
    holder = holder_of(path)
    if holder is None or not holder.is_here or not _is_stopped(holder.pid):
        return None
    with contextlib.suppress(ProcessLookupError):
        os.killpg(os.getpgid(holder.pid), signal.SIGCONT)
    return holder


def _is_plain(path: Path) -> bool:
    """Whether it is a file of its own: a link could be to the lock of another run, whose holder has done nothing."""
    try:
        about = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(about.st_mode) and about.st_nlink == 1


def _is_stopped(pid: int) -> bool:
    with contextlib.suppress(psutil.Error):
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    return False


def _has_open(pid: int, path: Path) -> bool:
    with contextlib.suppress(psutil.Error, OSError):  # it has ended, or is another user's
        return any(Path(file.path).samefile(path) for file in psutil.Process(pid).open_files())
    return False
