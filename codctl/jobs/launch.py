"""Send a run or a command to a launcher, with the code as it is now or as it was submitted the last time."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codctl.config.schema import ClusterConfig, Config
from codctl.errors import CodctlError, RefusedError
from codctl.jobs import worker
from codctl.jobs.launcher import LAUNCHERS, Batch, Submitted, Task
from codctl.runs import attempt, code, place
from codctl.runs.directory import RunDirectory
from codctl.runs.logs import WORKER_LOG
from codctl.runs.own_jobs import folder_of


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


def send(run: RunDirectory, config: Config, snapshot: code.Snapshot, where: str) -> dict[str, Any]:
    """Submit a run to a launcher.

    Raises:
        CodctlError: The launcher cannot be reached, refuses the run, or could not start it.
    """
    run.store_config()
    sent = submit([run], batch_of([run.path], config.cluster, run.name, folder_of(run.path), snapshot), where, snapshot)
    jobs = [] if where == "local" else [("jobs", list(sent.jobs[0])), ("code", snapshot.digest)]
    return {"run": str(run.path), "where": where, **dict(jobs), **sent.shown}


def send_command(
    argv: Sequence[str], cluster: ClusterConfig, *, folder: Path, name: str, runs_dir: Path, where: str
) -> dict[str, Any]:
    """Submit a codctl command line; its log goes below `folder`.

    Raises:
        CodctlError: As `send`.
    """
    command, launcher = [sys.executable, "-m", "codctl.cli.main", *argv], LAUNCHERS.get(where)

    def batch(snapshot: code.Snapshot) -> Batch:
        return command_batch(command, cluster, name, folder_of(folder), snapshot, gpus=cluster.gpus_per_node)

    launcher.check(batch(code.find(runs_dir, code.digest())))  # what is refused leaves nothing behind
    snapshot = code.snapshot(runs_dir)
    sent = launcher.submit(batch(snapshot))
    return {"folder": str(folder), "where": where, "jobs": list(sent.jobs[0]), "code": snapshot.digest, **sent.shown}


def submit(runs: Sequence[RunDirectory], batch: Batch, where: str, snapshot: code.Snapshot) -> Submitted:
    """Submit the runs of a batch, and note in each run's dispatch.json where it went.

    Raises:
        CodctlError: As `send`.
    """
    launcher, before = LAUNCHERS.get(where), [attempt.count(run.path) for run in runs]
    for run in runs:
        run.clear_stop()
    sent = launcher.submit(batch)
    about = {"where": where, "code": snapshot.digest, **sent.record}
    try:
        for run, jobs, number in zip(runs, sent.jobs, before, strict=True):
            run.write_dispatch({**about, "jobs": list(jobs), "after_attempt": number})
    except CodctlError:  # jobs that no run knows of could not be cancelled later
        launcher.cancel([job for jobs in sent.jobs for job in jobs])
        raise
    return sent


def batch_of(
    runs: Sequence[Path],
    cluster: ClusterConfig,
    name: str,
    folder: Path,
    snapshot: code.Snapshot,
    max_parallel: int | None = None,
) -> Batch:
    """The batch that works on these runs."""
    tasks = tuple(Task(tuple(worker.command(run)), run / WORKER_LOG, run) for run in runs)
    return Batch(tasks, cluster, name, folder, snapshot.path, max_parallel)


def command_batch(
    argv: Sequence[str],
    cluster: ClusterConfig,
    name: str,
    folder: Path,
    snapshot: code.Snapshot,
    *,
    gpus: int,
    after: Sequence[str] = (),
) -> Batch:
    """The batch that runs one command once, as a single process on one node.

    Args:
        argv: The command line.
        cluster: Of a training; what else a job needs to be accepted.
        name: Of the job.
        folder: For its log.
        snapshot: The code.
        gpus: That it uses.
        after: Ids of jobs that must have ended before.
    """
    alone = cluster.model_copy(update={"nodes": 1, "processes_per_node": 1, "gpus_per_node": gpus})
    task = Task(tuple(argv), folder / f"{name}.log")
    return Batch((task,), alone, name, folder, snapshot.path, after=tuple(after))
