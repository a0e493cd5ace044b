"""codctl cancel and codctl resume: stop what runs or waits, and go on with what was stopped."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from codctl.cli import _complete as complete
from codctl.cli import _output
from codctl.cli._foreground import carry_out
from codctl.cli._options import RUNS_DIR, Json, On, RunsDir, Slurm, launcher_of
from codctl.cli._result_text import text
from codctl.quantities import counted

if TYPE_CHECKING:
    from codctl.runs.directory import RunDirectory

Names = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN|SWEEP", autocompletion=complete.runs_and_sweeps, help="Runs, sweeps, or trials as SWEEP/TRIAL."
    ),
]
Name = Annotated[
    str,
    typer.Argument(
        metavar="RUN|SWEEP", autocompletion=complete.runs_and_sweeps, help="A run, a sweep, or a trial as SWEEP/TRIAL."
    ),
]

_MOST_LINES = 20


def cancel(
    names: Names,
    deadline: Annotated[
        float,
        typer.Option(
            "--deadline", metavar="SECONDS", help="How long a run may take to save before it is killed.", min=0
        ),
    ] = 60.0,
    runs_dir: RunsDir = RUNS_DIR,
    as_json: Json = False,
) -> None:
    """Stop runs and sweeps; they save a checkpoint first.

    They are marked as cancelled, and `codctl resume` continues them.
    """
    from codctl.jobs.cancel import cancel as cancel_
    from codctl.jobs.jobs import Jobs
    from codctl.jobs.targets import find_targets

    targets = find_targets(runs_dir, names)
    jobs = Jobs(every_s=2.0)
    found = cancel_(targets.runs, targets.sweeps, jobs, deadline_s=deadline, say=_output.talk)
    for note in jobs.notes:
        _output.talk(note)
    if found.left:
        _refuse(found.left, found.cancelled)
    lines = [f"{name}: cancelled" for name in found.cancelled]
    lines += [f"{name}: nothing to stop ({status})" for name, status in found.already.items()]
    if len(lines) > _MOST_LINES:
        lines = [f"cancelled {counted(len(found.cancelled), 'run')}; {len(found.already)} had already stopped"]
    _output.result("cancel", vars(found), "\n".join(lines) or "nothing to stop", as_json=as_json)


def resume(
    name: Name,
    slurm: Slurm = False,
    on: On = None,
    local: Annotated[bool, typer.Option("--local", help="Run here, even if it ran elsewhere before.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Run here, in the background.")] = False,
    current_code: Annotated[
        bool, typer.Option("--current-code", help="Use today's code instead of the code it was submitted with.")
    ] = False,
    runs_dir: RunsDir = RUNS_DIR,
    as_json: Json = False,
) -> None:
    """Continue a run or sweep from its last checkpoint.

    With its frozen config and, unless told otherwise, where it ran before: here, in the background or on a launcher.
    """
    from codctl.errors import UsageError
    from codctl.jobs.targets import find_targets

    if slurm and (local or detach):
        raise UsageError("--slurm cannot be combined with --local or --detach", hint=f"codctl resume {name} --slurm")
    if on is not None and local:
        raise UsageError("--on cannot be combined with --local", hint=f"codctl resume {name} --on {on}")
    where = launcher_of(on, slurm=slurm, detach=detach)
    targets = find_targets(runs_dir, [name])
    if targets.sweeps:
        from codctl.cli.sweep import resume_sweep

        resume_sweep(targets.sweeps[0], where, local=local, as_json=as_json)
        return
    run = targets.runs[0]
    status = _status(run)
    if status == "finished":
        _say_finished(run, as_json=as_json)
        return
    _refuse_alive(run, status)
    before = run.dispatch()
    if where is None and before is not None and not local:
        where = before["where"]
    if where is None:
        _in_foreground(run, current_code=current_code, as_json=as_json)
    else:
        _send(run, where, current_code=current_code, as_json=as_json)


def _refuse(left: dict[str, str], cancelled: list[str]) -> None:
    from codctl.errors import Problem, RefusedError

    done = f"; cancelled: {', '.join(cancelled)}" if cancelled else ""
    raise RefusedError(
        f"{len(left)} did not stop{done}",
        hint="the stop request stays on disk: a worker that finds it stops. Repeat the command on the machine or "
        "cluster where the run is",
        problems=tuple(Problem(f"{name}: {why}") for name, why in left.items()),
    )


def _status(run: RunDirectory) -> str:
    from codctl.jobs.jobs import Jobs
    from codctl.jobs.status import status_of

    return status_of(run, Jobs())


def _refuse_alive(run: RunDirectory, status: str) -> None:
    from codctl.errors import RefusedError
    from codctl.jobs.status import ALIVE

    if status not in ALIVE:
        return
    sent = run.dispatch()
    jobs = ", ".join(sent["jobs"] if sent else [])
    raise RefusedError(
        f"run {run.title!r} is {status}" + (f" (job {jobs})" if jobs else ""),
        where=str(run.path),
        hint=f"codctl logs -f {run.title}, or codctl cancel {run.title} first",
    )


def _send(run: RunDirectory, where: str, *, current_code: bool, as_json: bool) -> None:
    from codctl.jobs import launch
    from codctl.train import foreign

    config, snapshot = run.config(), launch.snapshot_for(run, current_code=current_code)
    foreign.refuse(run, config, as_job=where != "local")
    run.clear_stop()
    found = launch.send(run, config, snapshot, where)
    who = f"process {found['pid']}" if where == "local" else f"job {', '.join(found['jobs'])}"
    lines = [f"run     {found['run']}", f"started {who}", f"follow  codctl status {run.title}"]
    _output.result("resume", found, "\n".join(lines), as_json=as_json)


def _in_foreground(run: RunDirectory, *, current_code: bool, as_json: bool) -> None:
    _as_submitted(run, current_code=current_code)
    from codctl.train import foreign
    from codctl.train.preflight import preflight

    config = run.config()
    foreign.refuse(run, config, as_job=False)
    preflight(config)
    result = carry_out(run, config)
    _output.result("resume", result, text(result), as_json=as_json)


def _say_finished(run: RunDirectory, *, as_json: bool) -> None:
    from codctl.errors import RefusedError
    from codctl.pipeline.results import finished_result

    found = finished_result(run, run.config())
    if found is None:
        raise RefusedError(
            f"run {run.title!r} is finished, but part of its result is missing or damaged",
            where=str(run.path),
            hint=f"{shlex.join(run.manifest()['command'])} makes it again",
        )
    _output.result("resume", found, text(found), as_json=as_json)


def _as_submitted(run: RunDirectory, *, current_code: bool) -> None:
    """Become the codctl that the run was submitted with; returns when it is this one."""
    from codctl.jobs import launch
    from codctl.processes import python_environment
    from codctl.runs import code

    if current_code or run.dispatch() is None:
        return
    snapshot = launch.snapshot_for(run, current_code=False)
    if snapshot.digest == code.digest():
        return
    _output.talk(f"using the code it was submitted with ({snapshot.digest}); --current-code uses today's")
    arguments = [*sys.argv[1:], "--current-code"]
    os.execve(  # noqa: S606  this very command again
        sys.executable, [sys.executable, "-m", "codctl.cli.main", *arguments], python_environment(snapshot.path)
    )
