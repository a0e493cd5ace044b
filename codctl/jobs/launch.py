"""Send a run away: to a process of its own on this machine, or to SLURM. Both return as soon as it is in good hands."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codctl.config.schema import ClusterConfig, Config
from codctl.errors import RefusedError
from codctl.files import lock
from codctl.jobs import worker
from codctl.processes import python_environment, start_detached
from codctl.runs import attempt, code, place
from codctl.runs.directory import RunDirectory
from codctl.runs.logs import WORKER_LOG
from codctl.runs.own_jobs import folder_of

_UP_S = 60.0


def snapshot_for(run: RunDirectory, *, current_code: bool = True) -> code.Snapshot:
    """The code that the next attempt runs: as it is now, or as it was submitted the last time.

    Raises:
        RefusedError: The run was not submitted from the folder that it lies in, or that code cannot be used.
    """
    dispatched = run.dispatch()
    if current_code or dispatched is None:
        return code.snapshot(run.root)
    if not place.is_at_home(run.path, dispatched.get("place")):
        raise RefusedError(
            "this run was submitted in another folder, so the code that it names is not used",
            where=str(run.path),
            hint="add --current-code",
        )
    found = code.find(run.root, dispatched.get("code", ""))
    if problem := code.why_not_usable(found):
        raise RefusedError(
            f"the code that this run was submitted with cannot be used: {problem}",
            where=str(found.path),
            hint="add --current-code",
        )
    return found


def detached(run: RunDirectory, config: Config, snapshot: code.Snapshot) -> dict[str, Any]:
    """Start a worker that outlives this terminal; returns when its attempt has begun.

    Raises:
        StageError: It ended before, or was not up in time; the message holds the end of its log.
    """
    run.clear_stop()
    run.store_config()
    before = attempt.count(run.path)
    run.write_dispatch({"where": "local", "jobs": [], "code": snapshot.digest})
    pid = start_detached(
        worker.command(run.path),
        env=python_environment(snapshot.path),
        log=run.path / WORKER_LOG,
        is_up=lambda: attempt.read(run.path, before + 1).get("pid") is not None,
        deadline_s=_UP_S,
    )
    if attempt.read(run.path, before + 1).get("pid") not in (None, pid):
        raise lock.in_use(run.lock_path)  # another launcher was faster
    return {"run": str(run.path), "where": "local", "pid": pid, "log": str(run.log_path(before + 1))}


def on_slurm(run: RunDirectory, config: Config, snapshot: code.Snapshot) -> dict[str, Any]:
    """Submit a run.

    Raises:
        BackendError: There is no SLURM here, or its controller does not answer.
        RefusedError: SLURM refuses the job.
    """
    from codctl.jobs import slurm

    run.store_config()
    jobs = slurm.submit([run.path], config.cluster, folder=folder_of(run.path), name=run.name, code=snapshot.path)
    return {"run": str(run.path), "where": "slurm", "jobs": jobs, "code": snapshot.digest}


def command_on_slurm(
    argv: Sequence[str], cluster: ClusterConfig, *, folder: Path, name: str, runs_dir: Path
) -> dict[str, Any]:
    """Run a codctl command line in a job of its own; its log goes below `folder`.

    Raises:
        BackendError, RefusedError: As `on_slurm`.
    """
    from codctl.jobs import slurm, slurm_checks

    slurm_checks.check_time(cluster)
    slurm_checks.check_partition(cluster)
    slurm_checks.check_shared(folder_of(folder), cluster)
    command = [sys.executable, "-m", "codctl.cli.main", *argv]
    snapshot = code.snapshot(runs_dir)
    job = slurm.submit_command(command, cluster, folder=folder_of(folder), name=name, code=snapshot.path)
    return {"folder": str(folder), "where": "slurm", "jobs": [job], "code": snapshot.digest}
