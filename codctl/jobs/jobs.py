"""The jobs of runs as those who look at runs see them: their launchers are asked seldom, and only where they are.

Of SLURM it knows a run's own jobs only. One that has the same id by chance, or by an edited file,
counts as gone, and is never cancelled.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from codctl.errors import CodctlError
from codctl.jobs.launcher import LAUNCHERS, JobState, Launcher
from codctl.runs.own_jobs import Job, jobs_of


class Jobs:
    """The jobs of all launchers.

    Args:
        every_s: An answer that is younger than this is used again: controllers are shared, and a loop that asks every
            two seconds is a nuisance to all.

    Attributes:
        notes: What could not be found out, once.
    """

    def __init__(self, every_s: float = 5.0) -> None:
        self.notes: list[str] = []
        self._every_s = every_s
        self._asked_s: dict[tuple[str, str], float] = {}
        self._known: dict[tuple[str, str], JobState] = {}

    def states(self, jobs: Sequence[Job]) -> dict[Job, JobState]:
        """What the launchers say of these jobs: `unknown` when one is not here, does not answer, or is another one."""
        found = {job: JobState(job.id, "unknown") for job in jobs}
        for name in dict.fromkeys(job.launcher for job in jobs):
            if (launcher := self._launcher(name)) is None:
                continue
            here = [job for job in jobs if job.launcher == name and self._is_here(job)]
            self._ask(name, launcher, [job.id for job in here])
            found |= {job: self._own(job, self._known[name, job.id]) for job in here}
        return found

    def cancel(self, jobs: Sequence[Job]) -> None:
        """Take jobs out of the queue, or end them. Asks first, so that none is hit that only has the same id.

        Raises:
            BackendError: A launcher cannot be reached.
        """
        for job in jobs:
            self._asked_s.pop((job.launcher, job.id), None)
        own = [job for job, state in self.states(jobs).items() if state.is_alive]
        for name in dict.fromkeys(job.launcher for job in own):
            ids = [job.id for job in own if job.launcher == name]
            LAUNCHERS.get(name).cancel(ids)
            for one in ids:
                self._asked_s.pop((name, one), None)

    def of_sweep(self, sweep: Path) -> tuple[Job, ...]:
        """The jobs that a sweep has beside those of its trials: the one that sums it up."""
        return jobs_of(sweep)

    def _launcher(self, name: str) -> Launcher | None:
        """The launcher; None when it is not here."""
        try:
            found = LAUNCHERS.get(name)
        except CodctlError as error:  # a package that is not installed here
            self._note(f"{error.message}: the status of its jobs is taken from the files of their runs")
            return None
        if problem := found.unavailable():
            self._note(problem)
            return None
        return found

    def _ask(self, name: str, launcher: Launcher, ids: Sequence[str]) -> None:
        now_s = time.monotonic()
        old = [job for job in ids if now_s - self._asked_s.get((name, job), float("-inf")) >= self._every_s]
        if old:
            answer = launcher.states(old)
            self._known |= {(name, job): answer.get(job) or JobState(job, "gone") for job in old}
            self._asked_s |= {(name, job): now_s for job in old}
            if all(self._known[name, job].state == "unknown" for job in old):
                who = "SLURM" if name == "slurm" else name
                self._note(f"{who} does not respond: the status of jobs is taken from the files of their runs")

    def _own(self, job: Job, state: JobState) -> JobState:
        """What is known of this very job; another user's job with the same id says nothing."""
        if job.launcher != "slurm" or state.state in ("gone", "unknown") or job.is_own(state.owner, Path(state.script)):
            return state
        who = f" ({state.name or 'no name'}, of {state.user})" if state.user else ""
        self._note(f"job {job.id} in dispatch.json is another job now{who}: it is ignored")
        return JobState(job.id, "gone")

    def _is_here(self, job: Job) -> bool:
        if not job.cluster or not self._cluster or job.cluster == self._cluster:
            return True
        self._note(f"job {job.id} was submitted to the cluster {job.cluster}; SLURM on this machine is {self._cluster}")
        return False

    @cached_property
    def _cluster(self) -> str:
        from codctl.jobs import queue

        return queue.cluster()

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
