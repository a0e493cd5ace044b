"""The launcher `local`: processes of this machine that outlive the terminal (`--detach`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from codctl.files import lock
from codctl.jobs.launcher import Batch, JobState, Launcher, Submitted, Task
from codctl.processes import start_detached
from codctl.runs import attempt
from codctl.runs.directory import RunDirectory

_UP_S = 60.0


class Background(Launcher):
    """Starts each task at once. The lock of a run tells whether one works on it, so there are no ids of jobs."""

    def submit(self, batch: Batch) -> Submitted:
        """See `Launcher`; returns when the attempts have begun.

        Raises:
            CodctlError: A process ended before, or was not up in time; the message holds the end of its log.
            RefusedError: Another process was faster.
        """
        started = [_start(task, batch.environment) for task in batch.tasks]
        shown = dict(zip(("pid", "log"), started[0], strict=True)) if len(started) == 1 else {}
        return Submitted([()] * len(started), shown=shown)

    def states(self, jobs: Sequence[str]) -> Mapping[str, JobState]:
        return {}

    def cancel(self, jobs: Sequence[str]) -> None:
        pass


def _start(task: Task, environment: Mapping[str, str]) -> tuple[int, str]:
    """Start one; its process id and log."""
    if task.run is None:
        return start_detached(task.argv, env=environment, log=task.log, is_up=lambda: True), str(task.log)
    run, number = RunDirectory(task.run), attempt.count(task.run) + 1

    def works() -> int | None:
        return attempt.read(run.path, number).get("pid")

    pid = start_detached(task.argv, env=environment, log=task.log, is_up=lambda: works() is not None, deadline_s=_UP_S)
    if works() not in (None, pid):
        raise lock.in_use(run.lock_path)
    return pid, str(run.log_path(number))
