"""The scheduler as those who look at runs see it: asked seldom, and only where there is one.

It speaks of a run's own jobs only. One that has the same id by chance, or by a file that somebody has edited, counts as
gone, and is never cancelled.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from codctl.runs.own_jobs import Job, jobs_of

if TYPE_CHECKING:
    from codctl.jobs.queue import JobState

_SILENT = "SLURM does not respond: the status of jobs is taken from the files of their runs"
_NO_SLURM = "no squeue on this machine: the status of jobs is taken from the files of their runs"


class Jobs:
    """The queue of SLURM.

    Args:
        every_s: An answer that is younger than this is used again: controllers are shared, and a loop that asks every
            two seconds is a nuisance to all.

    Attributes:
        notes: What could not be found out, once.
    """

    def __init__(self, every_s: float = 5.0) -> None:
        self.notes: list[str] = []
        self._every_s = every_s
        self._asked_s: dict[str, float] = {}
        self._known: dict[str, JobState] = {}

    def states(self, jobs: Sequence[Job]) -> dict[Job, JobState]:
        """What the scheduler says of these jobs: `unknown` when it is not here, does not answer, or is another one."""
        from codctl.jobs.queue import JobState

        found = {job: JobState(job.id, "unknown") for job in jobs}
        if not jobs:
            return found
        if shutil.which("squeue") is None:
            self._note(_NO_SLURM)
            return found
        here = [job for job in jobs if self._is_here(job)]
        self._ask([job.id for job in here])
        return found | {job: self._own(job, self._known[job.id]) for job in here}

    def settled(self, status: str, states: Sequence[JobState]) -> str:
        """How a run stands that its files and its jobs know about; of several jobs the most alive one counts."""
        from codctl.jobs import queue

        return queue.reconcile(status, states)

    def cancel(self, jobs: Sequence[Job]) -> None:
        """Take jobs out of the queue, or end them. Asks first, so that none is hit that only has the same id.

        Raises:
            BackendError: There is no scheduler here.
        """
        for job in jobs:
            self._asked_s.pop(job.id, None)
        own = [job.id for job, state in self.states(jobs).items() if state.is_alive]
        if own:
            from codctl.jobs import slurm

            slurm.cancel(own)
            for one in own:
                self._asked_s.pop(one, None)

    def of_sweep(self, sweep: Path) -> tuple[Job, ...]:
        """The jobs that a sweep has beside those of its trials: the one that sums it up."""
        return jobs_of(sweep)

    def _ask(self, ids: Sequence[str]) -> None:
        now_s = time.monotonic()
        old = [job for job in ids if now_s - self._asked_s.get(job, float("-inf")) >= self._every_s]
        if old:
            from codctl.jobs import queue

            self._known |= queue.states(old)
            self._asked_s |= dict.fromkeys(old, now_s)
            if all(self._known[job].state == "unknown" for job in old):
                self._note(_SILENT)

    def _own(self, job: Job, state: JobState) -> JobState:
        """What is known of this very job; one that somebody else has under its id says nothing."""
        from codctl.jobs.queue import JobState

        if state.state in ("gone", "unknown") or job.is_own(state.owner, Path(state.script)):
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
