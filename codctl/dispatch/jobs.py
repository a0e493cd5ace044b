"""The scheduler as those who look at runs see it: asked seldom, and only where there is one."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from codctl.runs.directory import RunDirectory

if TYPE_CHECKING:
    from codctl.dispatch.queue import JobState

_SILENT = "SLURM does not respond: jobs are shown as their files say"
_NO_SLURM = "no squeue on this machine: jobs are shown as their files say"


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

    def states(self, ids: Sequence[str]) -> dict[str, JobState]:
        """What the scheduler says of these jobs; nothing where there is no scheduler."""
        if not ids:
            return {}
        if shutil.which("squeue") is None:
            self._note(_NO_SLURM)
            return {}
        now_s = time.monotonic()
        old = [job for job in ids if now_s - self._asked_s.get(job, float("-inf")) >= self._every_s]
        if old:
            from codctl.dispatch import queue

            self._known |= queue.states(old)
            self._asked_s |= dict.fromkeys(old, now_s)
            if all(self._known[job].state == "unknown" for job in old):
                self._note(_SILENT)
        return {job: self._known[job] for job in ids if job in self._known}

    def settled(self, status: str, states: Sequence[JobState]) -> str:
        """How a run stands that its files and its jobs know about; of several jobs the most alive one counts."""
        from codctl.dispatch import queue

        return queue.reconcile(status, states)

    def cancel(self, ids: Sequence[str]) -> None:
        """Take jobs out of the queue, or end them.

        Raises:
            BackendError: There is no scheduler here.
        """
        if ids:
            from codctl.dispatch import slurm

            slurm.cancel(ids)
            for job in ids:
                self._asked_s.pop(job, None)

    def of_sweep(self, sweep: Path) -> list[str]:
        """The jobs that a sweep has beside those of its trials: the one that sums it up."""
        sent = RunDirectory(sweep).dispatch()
        return sent["jobs"] if sent else []

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
