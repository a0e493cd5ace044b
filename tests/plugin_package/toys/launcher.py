"""--on here: background processes of this machine, known by their process ids."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from codctl.jobs.launcher import Batch, JobState, Launcher, Submitted


class Here(Launcher):
    def submit(self, batch: Batch) -> Submitted:
        jobs = []
        for task in batch.tasks:
            with task.log.open("ab") as log:
                process = subprocess.Popen(
                    task.argv,
                    env=batch.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            jobs.append([str(process.pid)])
        return Submitted(jobs)

    def states(self, jobs: Sequence[str]) -> Mapping[str, JobState]:
        alive = (job for job in jobs if Path(f"/proc/{job}/stat").exists())
        return {job: JobState(job, "RUNNING") for job in alive}

    def cancel(self, jobs: Sequence[str]) -> None:
        for job in jobs:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(job), signal.SIGTERM)
