"""Run the trials of a sweep: here in the foreground, in a process that outlives the terminal, or on SLURM.

`python -m codctl.sweeps.run FOLDER` is that process: it does what `dispatch.json` of the sweep says. With
`--sum-up` it only writes the sweep's table and page; a job does that when all others have ended.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from codctl.config.schema import ClusterConfig
from codctl.errors import SweepError, UsageError
from codctl.files import lock
from codctl.jobs import local, worker
from codctl.jobs.launcher import LAUNCHERS
from codctl.jobs.local import Job, Slots
from codctl.jobs.slots import visible_gpus
from codctl.processes import python_environment, start_detached
from codctl.quantities import counted, is_or_are
from codctl.runs import attempt, code, stop
from codctl.runs.directory import TRIALS, RunDirectory
from codctl.runs.own_jobs import folder_of
from codctl.startup import begin_process
from codctl.sweeps import prepare

if TYPE_CHECKING:
    from codctl.sweeps.study_result import StudyResult

_FILE = "dispatch.json"
_LOG = "launcher.log"
_UP_S = 60.0


class Watcher(Protocol):
    """Shows trials as they run."""

    def changed(self, run: Path, what: int | Literal["started"]) -> None:
        """A trial started, or ended with this exit code."""

    def say(self, text: str) -> None:
        """Something that the user should read once."""


@dataclass(frozen=True)
class Limits:
    """How wide and how long a sweep goes on.

    Attributes:
        max_parallel: Trials at a time; None: as many as fit.
        max_failures: Failed trials after which no more are started.
    """

    max_parallel: int | None = None
    max_failures: int | None = None


def run_here(folder: Path, runs: Sequence[RunDirectory], limits: Limits, watcher: Watcher) -> dict[str, int]:
    """Run trials in the foreground and wait. The caller holds the sweep's lock.

    Returns:
        Exit codes by trial, without those that were never started.

    Raises:
        PreflightError: A trial needs more GPUs than there are.
        KeyboardInterrupt, Terminated: When all children have ended.
    """
    has_gpus = bool(visible_gpus())
    jobs = [_job(run, has_gpus=has_gpus) for run in runs]
    if not jobs:
        return {}
    gpus, threads = max(job.gpus for job in jobs), max(job.threads for job in jobs)
    slots = Slots.discover(limits.max_parallel, gpus, threads)
    codes = local.run_all(
        jobs,
        code=code.snapshot(runs[0].root).path,
        slots=slots,
        say=watcher.say,
        on_change=lambda job, what: watcher.changed(job.run, what),
        max_failures=limits.max_failures,
        may_start=lambda: stop.read(folder) is None,
    )
    return {run.name: code for run, code in codes.items()}


def _job(run: RunDirectory, *, has_gpus: bool) -> Job:
    config = run.config()
    gpus = config.cluster.gpus_per_node
    if config.model.device == "cpu":
        gpus = 0
    elif not gpus and (config.model.device == "cuda" or has_gpus):
        gpus = 1  # as a training in the foreground takes one where there is one
    return Job(run.path, gpus=gpus, threads=config.runtime.threads)


def note_local(folder: Path, runs: Sequence[RunDirectory], limits: Limits) -> code.Snapshot:
    """Write down that these trials run on this machine and within which limits: resuming the sweep does the same."""
    snapshot = code.snapshot(runs[0].root)
    content = {"where": "local", "jobs": [], "trials": [run.name for run in runs]}
    _write_dispatch(folder, {**content, **vars(limits), "code": snapshot.digest})
    return snapshot


def run_detached(folder: Path, runs: Sequence[RunDirectory], limits: Limits) -> dict[str, Any]:
    """Start a launcher that outlives this terminal; returns when it holds the sweep's lock.

    Raises:
        CodctlError: It ended before, or was not up in time.
    """
    snapshot = note_local(folder, runs, limits)
    pid = start_detached(
        [sys.executable, "-m", "codctl.sweeps.run", str(folder.absolute())],
        env=python_environment(snapshot.path),
        log=folder / _LOG,
        is_up=lambda: lock.is_locked(folder / "lock"),
        deadline_s=_UP_S,
    )
    return {"where": "local", "pid": pid, "log": str(folder / _LOG)}


def run_on(where: str, folder: Path, runs: Sequence[RunDirectory], limits: Limits) -> dict[str, Any]:
    """Submit trials to a launcher, one array for each shape of job, and a last job that sums the sweep up.

    Raises:
        BackendError: There is no SLURM here, or its controller does not answer.
        RefusedError: SLURM refuses a job.
    """
    from codctl.jobs import launch

    snapshot, place = code.snapshot(runs[0].root), folder_of(folder)
    jobs: list[str] = []
    for cluster, paths in by_shape((run.config().cluster, run.path) for run in runs):
        batch = launch.batch_of(paths, cluster, folder.name, place, snapshot, limits.max_parallel)
        sent = launch.submit([RunDirectory(path) for path in paths], batch, where, snapshot)
        jobs += [job for link in zip(*sent.jobs, strict=True) for job in link]
    argv = [sys.executable, "-m", "codctl.sweeps.run", str(folder.absolute()), "--sum-up"]
    cluster, name = runs[0].config().cluster, f"{folder.name}-sum-up"
    last = LAUNCHERS.get(where).submit(launch.command_batch(argv, cluster, name, place, snapshot, gpus=0, after=jobs))
    content = {"where": where, **last.record, "jobs": list(last.jobs[0]), "trials": [run.name for run in runs]}
    _write_dispatch(folder, {**content, **vars(limits), "code": snapshot.digest})
    return {"where": where, "jobs": jobs, "sum_up_job": last.jobs[0][0]}


def scripts(
    where: str,
    folder: Path,
    clusters: Sequence[tuple[ClusterConfig, Sequence[Path]]],
    limits: Limits,
    runs_dir: Path,
) -> list[str]:
    """The script of each shape of job, as `run_on` would submit it."""
    from codctl.jobs import launch

    launcher, snapshot = LAUNCHERS.get(where), code.find(runs_dir, code.digest())
    place, width = folder_of(folder), limits.max_parallel
    return [
        launcher.script(launch.batch_of(paths, cluster, folder.name, place, snapshot, width))
        for cluster, paths in clusters
    ]


def by_shape(runs: Iterable[tuple[ClusterConfig, Path]]) -> list[tuple[ClusterConfig, list[Path]]]:
    """Runs whose jobs have the same shape, with that shape."""
    found: dict[str, tuple[ClusterConfig, list[Path]]] = {}
    for cluster, path in runs:
        found.setdefault(cluster.model_dump_json(), (cluster, []))[1].append(path)
    return list(found.values())


def read_dispatch(folder: Path) -> Mapping[str, Any]:
    """How the sweep was sent the last time; empty when it never was."""
    return RunDirectory(folder).dispatch() or {}


def _write_dispatch(folder: Path, content: Mapping[str, Any]) -> None:
    RunDirectory(folder).write_dispatch(content)


def outcome(folder: Path, names: Sequence[str], codes: Mapping[str, int]) -> dict[str, Any]:
    """Sum up what there is, and say what is not complete and why."""
    result = _summed_up(folder)
    wanted = set(names)
    why = {one.trial: one.message or one.status for one in result.incomplete if one.trial in wanted}
    return {"result": result, "incomplete": why, "codes": dict(codes)}


def _summed_up(folder: Path) -> StudyResult:
    """Write the table and page of what there is, and let the tracker know."""
    from codctl.jobs.jobs import Jobs
    from codctl.jobs.status import statuses
    from codctl.sweeps.results import sum_up
    from codctl.tracking.sync import conclude

    result = sum_up(folder)
    conclude(folder, partial(statuses, jobs=Jobs()))
    return result


def incomplete_error(folder: Path, why: Mapping[str, str], total: int, again: str) -> SweepError:
    """The error for a sweep of which some trials are not complete; which and why was printed before."""
    return SweepError(
        f"{len(why)} of {counted(total, 'trial')} {is_or_are(len(why))} incomplete", where=str(folder), hint=again
    )


class LineWatcher:
    """Says on one line each what starts and how it ends.

    Args:
        total: Trials that will run.
        say: Where lines go.
    """

    def __init__(self, total: int, say: Callable[[str], None]) -> None:
        self._total, self._say = total, say
        self._started = self._ended = self._failed = 0

    def changed(self, run: Path, what: int | Literal["started"]) -> None:
        if what == "started":
            self._started += 1
        else:
            self._ended += 1
            self._failed += what not in (0, 130, 143)
        state = "started" if what == "started" else ended_as(run, what)
        running = self._started - self._ended
        failed = f", {self._failed} failed" if self._failed else ""
        self._say(f"{run.name} {state} ({self._ended} of {self._total} ended, {running} running{failed})")

    def say(self, text: str) -> None:
        self._say(text)


def ended_as(run: Path, exit_code: int) -> str:
    """How a worker ended, in a word; of one that failed also why."""
    words = {0: "finished", 75: "paused", 130: "cancelled", 143: "terminated"}
    if exit_code in words:
        return words[exit_code]
    why = str(attempt.read(run, attempt.count(run))["message"])
    return f"failed ({exit_code}){': ' + why if why else ''}"


def main(argv: Sequence[str]) -> int:
    """The launcher behind `--detach`, or the job that sums a sweep up; errors end as one message on stderr."""
    begin_process()
    parser = argparse.ArgumentParser(prog="codctl.sweeps.run")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sum-up", action="store_true")
    options = parser.parse_args(argv)
    return worker.exit_code_of(lambda: (_sum_up if options.sum_up else _launch)(options.folder))


def _launch(folder: Path) -> None:
    sent = read_dispatch(folder)
    if not sent.get("trials"):
        raise UsageError("dispatch.json lists no trials", where=str(folder / _FILE), hint="codctl sweep …")
    names = list(sent["trials"])
    runs = [RunDirectory.open(folder / TRIALS / name) for name in names]
    limits = Limits(sent.get("max_parallel"), sent.get("max_failures"))
    with prepare.locked(folder):
        codes = run_here(folder, runs, limits, LineWatcher(len(runs), _tell))
        found = outcome(folder, names, codes)
    for name, why in found["incomplete"].items():
        _tell(f"  {name}: {why or 'not started'}")
    if found["incomplete"]:
        raise incomplete_error(folder, found["incomplete"], len(names), f"codctl resume {folder.name}")


def _sum_up(folder: Path) -> None:
    result = _summed_up(folder)
    done, trials = result.trials_complete, counted(len(result.trials), "trial")
    _tell(f"{done} of {trials} {is_or_are(done)} complete: {folder / 'report.html'}")


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
