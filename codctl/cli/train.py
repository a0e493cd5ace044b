"""codctl train: every stage that a recipe names."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codctl.cli import _complete as complete
from codctl.cli import _output
from codctl.cli._foreground import carry_out
from codctl.cli._options import RUNS_DIR, Json, On, Overrides, RecipeName, RunsDir, Slurm, launcher_of
from codctl.cli._result_text import text

if TYPE_CHECKING:
    from codctl.config.schema import Config
    from codctl.jobs.launcher import Batch, Launcher
    from codctl.runs.directory import RunDirectory


def train(
    recipe: RecipeName,
    overrides: Overrides = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Name of the run; the recipe's name by default.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start anew; an earlier run of this name is moved aside.")
    ] = False,
    fork: Annotated[
        str | None,
        typer.Option(
            "--fork",
            metavar="RUN",
            autocompletion=complete.runs,
            help="Start from the newest checkpoint of another run.",
        ),
    ] = None,
    slurm: Slurm = False,
    on: On = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Run in the background and return once it is running.")
    ] = False,
    extend: Annotated[
        bool,
        typer.Option(
            "--extend", help="Go on with a run for more train.steps, also where that moves the learning rate."
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Check everything and print the plan (--json: also the frozen config); write nothing."
        ),
    ] = False,
    runs_dir: RunsDir = RUNS_DIR,
    as_json: Json = False,
) -> None:
    """Train a model: every stage of a recipe.

    The same command again continues, or does nothing when all is done.
    """
    from codctl.config.compose import load_config
    from codctl.tracking import sinks
    from codctl.train.preflight import check_recipe, preflight, preflight_elsewhere
    from codctl.train.teachers import check_teachers

    where = launcher_of(on, slurm=slurm, detach=detach)
    config = load_config(recipe, [*(overrides or []), *([f'name="{name}"'] if name else [])])
    command = ["codctl", *sys.argv[1:]]
    if fork is not None:
        _check_fork(config, runs_dir, fork, fresh=fresh)
    if dry_run:
        check_recipe(config)
        _dry_run(config, runs_dir, recipe, command, fresh=fresh, extend=extend, where=where, as_json=as_json)
        return
    if not fresh and (done := _finished(config, runs_dir)):
        _output.result("train", done, text(done), as_json=as_json)
        return
    sinks.remember([config.tracking])
    if where in (None, "local"):
        preflight(config)
    else:
        preflight_elsewhere(config)
        _warn_of_time(config, where)
        launcher, batch = _batch(config, runs_dir, where)
        launcher.check(batch)  # what is refused leaves nothing behind
    check_teachers(config, runs_dir)
    run = _directory(config, runs_dir, recipe, command, fresh=fresh, fork=fork, extend=extend)
    if where is not None:
        _send(run, config, where, as_json=as_json)
        return

    result = carry_out(run, config)
    _output.result("train", result, text(result), as_json=as_json)


def _check_fork(config: Config, runs_dir: Path, fork: str, *, fresh: bool) -> None:
    """Refuse a fork that cannot be made, and an existing run that is not this fork. Nothing is written."""
    from codctl.errors import UsageError
    from codctl.runs.directory import find_run
    from codctl.runs.fork import check_fork, refuse_other_origin

    path = runs_dir / config.name
    if (path / "manifest.json").exists() and not fresh:
        refuse_other_origin(path, fork)
        return
    source = find_run(runs_dir, fork)
    if source.path.resolve() == path.resolve():
        raise UsageError("a run cannot be a fork of itself", where=str(path), hint=f"--fork {fork} --name OTHER")
    check_fork(source, config)


def _finished(config: Config, runs_dir: Path) -> dict[str, Any] | None:
    """The result of a run that has nothing left to do. It is not started again."""
    from codctl.config.freeze import digest
    from codctl.files import lock
    from codctl.pipeline.results import finished_result
    from codctl.runs.directory import RunDirectory

    path = runs_dir / config.name
    if not (path / "manifest.json").exists():
        return None
    run = RunDirectory.open(path)
    if lock.is_locked(run.lock_path) or run.frozen()["digest"] != digest(config):
        return None
    if (found := finished_result(run, config)) is None:
        return None
    _say_ignored(run, config)
    return found


def _say_ignored(run: RunDirectory, config: Config) -> None:
    """Name the settings that would only have counted for a training."""
    from codctl.config.freeze import changed_resources

    changed = changed_resources(run.config(), config)
    if changed:
        words = ", ".join(f"{key} {old!r} → {new!r}" for key, (old, new) in changed.items())
        _output.talk(f"ignored, since the run is finished: {words}")


def _directory(
    config: Config, runs_dir: Path, recipe: str, command: list[str], *, fresh: bool, fork: str | None, extend: bool
) -> RunDirectory:
    from codctl.runs.directory import RunDirectory, find_run, move_aside
    from codctl.runs.fork import fork as fork_

    if fork is not None:
        source, target = find_run(runs_dir, fork) if fresh else None, runs_dir / config.name
        if fresh:
            move_aside(target)
        if not (target / "manifest.json").exists():
            return fork_(source or find_run(runs_dir, fork), runs_dir, config, recipe=recipe, command=command)
    return RunDirectory.create_or_continue(
        runs_dir, config, recipe=recipe, command=command, fresh=fresh and fork is None, extend=extend
    )


def _dry_run(
    config: Config,
    runs_dir: Path,
    recipe: str,
    command: list[str],
    *,
    fresh: bool,
    extend: bool,
    where: str | None,
    as_json: bool,
) -> None:
    from codctl.cli import _plan_text
    from codctl.config.freeze import digest, freeze
    from codctl.plan.devices import machine_memory, uses_gpus
    from codctl.plan.fit import refuse_if_too_large
    from codctl.plan.plan import make_plan
    from codctl.runs.directory import RunDirectory

    place = runs_dir / config.name
    if place.exists() and not fresh:  # continuing writes nothing before the first attempt
        RunDirectory.create_or_continue(runs_dir, config, recipe=recipe, command=command, extend=extend)
    # A job elsewhere may have more memory than this machine.
    here = machine_memory() if where in (None, "local") and not uses_gpus(config) else 0
    plan = make_plan(config, here)
    if not as_json:
        _output.data(_plan_text.render(config, plan, digest(config)))
    refuse_if_too_large(config, plan, here)
    found: dict[str, Any] = {"digest": digest(config), "config": freeze(config), "plan": plan.as_dict()}
    script = ""
    if where not in (None, "local"):
        script = _checked_script(config, runs_dir, where)
        found["sbatch" if where == "slurm" else "script"] = script
    _output.result("train", found, f"\n{script}" if script else "", as_json=as_json)


def _checked_script(config: Config, runs_dir: Path, where: str) -> str:
    """What the launcher would start, checked by it where it is there."""
    from codctl.errors import BackendError

    launcher, batch = _batch(config, runs_dir, where)
    _warn_of_time(config, where)
    script = launcher.script(batch)
    try:
        launcher.check(batch)
    except BackendError as error:
        who = "SLURM" if where == "slurm" else where
        _output.talk(f"not checked with {who}: {error.message}")
    return script


def _warn_of_time(config: Config, where: str) -> None:
    """Say when little of a job's time is left to train."""
    limit_s, delay_s = config.cluster.minutes * 60, config.cluster.signal_delay_s
    if where == "slurm" and delay_s < limit_s < 2 * delay_s:
        _output.talk(
            f"cluster.time leaves {limit_s - delay_s} s of {limit_s} s to work: a run saves {delay_s} s before the end "
            "(cluster.signal_delay_s)"
        )


def _batch(config: Config, runs_dir: Path, where: str) -> tuple[Launcher, Batch]:
    """The launcher, and what it would get."""
    from codctl.jobs import launch
    from codctl.jobs.launcher import LAUNCHERS
    from codctl.runs import code
    from codctl.runs.own_jobs import folder_of

    run, snapshot = runs_dir / config.name, code.find(runs_dir, code.digest())
    return LAUNCHERS.get(where), launch.batch_of([run], config.cluster, config.name, folder_of(run), snapshot)


def _send(run: RunDirectory, config: Config, where: str, *, as_json: bool) -> None:
    """Submit the run."""
    from codctl.jobs import launch
    from codctl.jobs.jobs import Jobs
    from codctl.jobs.status import ALIVE, status_of

    if (status := status_of(run, Jobs())) in ALIVE:
        _refuse_alive(run, status)
    snapshot = launch.snapshot_for(run)
    found = launch.send(run, config, snapshot, where)
    who = f"process {found['pid']}" if where == "local" else f"job {', '.join(found['jobs'])}"
    lines = [f"run     {found['run']}", f"started {who}"]
    lines += [f"follow  codctl status {run.title}, codctl logs -f {run.title}", f"stop    codctl cancel {run.title}"]
    _output.result("train", found, "\n".join(lines), as_json=as_json)


def _refuse_alive(run: RunDirectory, status: str) -> None:
    from codctl.errors import RefusedError

    jobs = ", ".join(sent["jobs"] if (sent := run.dispatch()) else []) or "a worker that is starting"
    raise RefusedError(
        f"run {run.title!r} is already {status} ({jobs})",
        where=str(run.path),
        hint=f"codctl status {run.title}, or codctl cancel {run.title}",
    )
