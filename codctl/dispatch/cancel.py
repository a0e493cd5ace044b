"""Stop runs and sweeps wherever they are: asked first, made to only when they do not answer.

Every run gets a request on disk, which its worker finds between two steps and answers by saving. What waits in a queue
is taken out of it at once. After the deadline whatever is left is ended, and can be resumed from what it has sealed.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from codctl.dispatch import holder
from codctl.dispatch.jobs import Jobs
from codctl.dispatch.standing import Seen, look, settle
from codctl.errors import BackendError
from codctl.runs import lock, stop
from codctl.runs.directory import RunDirectory, trials_of

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
        already: Those that there was nothing to stop of, with how they stand.
        left: Those that still run, with what to do about it.
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
    seen = [look(run.path, run.title) for run in every]
    settle(seen, jobs)
    for sweep in sweeps:
        stop.write(sweep, "cancel")
    outcome = Outcome(already={one.name: one.status for one in seen if one.status not in _STOPPABLE})
    targets = [one for one in seen if one.status in _STOPPABLE]
    for one in targets:
        RunDirectory(one.path).request_stop("cancel")
    stopping = _Stopping(targets, sweeps, jobs, say, poll_s)
    stopping.unqueue()
    for wait_s, number in ((deadline_s, None), (END_S, signal.SIGTERM), (_KILL_S, signal.SIGKILL)):
        if number is not None:
            stopping.end(number)
        if stopping.wait(wait_s):
            break
    running = {one.name for one in stopping.running()}
    for one in targets:
        if one.name in running:
            outcome.left[one.name] = _who(one.path / "lock")
        else:
            outcome.cancelled.append(one.name)
    for sweep in sweeps:
        if lock.is_locked(sweep / "lock"):
            outcome.left[sweep.name] = _who(sweep / "lock")
    return outcome


class _Stopping:
    def __init__(
        self, targets: Sequence[Seen], sweeps: Sequence[Path], jobs: Jobs, say: Callable[[str], None], poll_s: float
    ) -> None:
        self._targets, self._sweeps, self._jobs, self._say = targets, sweeps, jobs, say
        self._poll_s = poll_s if len(targets) < _MANY else 5 * poll_s

    def unqueue(self) -> None:
        """Take out of the queue what waits there; also the job that would sum a sweep up."""
        waiting = [job for one in self._targets if one.status != "running" for job in one.jobs]
        self._scancel(waiting + [job for sweep in self._sweeps for job in self._jobs.of_sweep(sweep)])

    def running(self) -> list[Seen]:
        """Which of them run now, by their files or by their scheduler."""
        found = [look(one.path, one.name) for one in self._targets]
        settle(found, self._jobs)
        return [one for one in found if one.status == "running"]

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
        running = self.running()
        self._scancel([job for one in running for job in one.jobs])
        # The launcher of a sweep ends its children itself, and starts no more.
        for path in [sweep / "lock" for sweep in self._sweeps] + [one.path / "lock" for one in running]:
            who = _who(path)
            if holder.send(path, number):
                self._say(f"{who} did not stop: {'ending' if number == signal.SIGTERM else 'killing'} it")

    def _scancel(self, ids: Sequence[str]) -> None:
        try:
            self._jobs.cancel(ids)
        except BackendError as error:
            self._say(
                f"jobs {_some(ids)} could not be removed from the queue; they will end when they start: {error.message}"
            )

    def _left(self) -> list[str]:
        launchers = [f"the launcher of {sweep.name}" for sweep in self._sweeps if lock.is_locked(sweep / "lock")]
        return [one.name for one in self.running()] + launchers


def _who(path: Path) -> str:
    found = holder.holder_of(path)
    return str(found) if found else "a process on another machine"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
