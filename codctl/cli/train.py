"""codctl train: every stage that a recipe names."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codctl.cli import _output
from codctl.cli._options import RUNS_DIR, Json, Overrides, RecipeName, RunsDir

if TYPE_CHECKING:
    from codctl.config.schema import Config
    from codctl.runs.directory import RunDirectory


def train(
    recipe: RecipeName,
    overrides: Overrides = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the run; the recipe's name otherwise.")] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start anew; an earlier run of this name is moved aside.")
    ] = False,
    fork: Annotated[
        str | None, typer.Option("--fork", metavar="RUN", help="Go on from the newest checkpoint of another run.")
    ] = None,
    slurm: Annotated[bool, typer.Option("--slurm", help="Submit to SLURM and return.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Run in the background and return when it runs.")] = False,
    extend: Annotated[
        bool,
        typer.Option(
            "--extend", help="Go on with a run for more train.steps, also where that moves the learning rate."
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Check everything, print the plan (--json: also the frozen config), write nothing."
        ),
    ] = False,
    runs_dir: RunsDir = RUNS_DIR,
    as_json: Json = False,
) -> None:
    """Run every stage of a recipe. The same command again continues, or does nothing when all is done."""
    from codctl.config.compose import load_config
    from codctl.errors import UsageError
    from codctl.stages.preflight import check_recipe, preflight, preflight_elsewhere

    if slurm and detach:
        raise UsageError("--slurm and --detach exclude each other", hint="--slurm returns at once anyway")
    config = load_config(recipe, [*(overrides or []), *([f'name="{name}"'] if name else [])])
    command = ["codctl", *sys.argv[1:]]
    if dry_run:
        check_recipe(config)
        _dry_run(config, runs_dir, recipe, command, fresh=fresh, extend=extend, slurm=slurm, as_json=as_json)
        return
    if slurm:
        from codctl.dispatch import slurm_checks

        preflight_elsewhere(config)
        slurm_checks.ask(_job_script(config, runs_dir), config.cluster)  # what SLURM refuses leaves nothing behind
    else:
        preflight(config)
    run = _directory(config, runs_dir, recipe, command, fresh=fresh, fork=fork, extend=extend)
    if slurm or detach:
        _send(run, config, slurm=slurm, as_json=as_json)
        return

    from codctl.cli._progress import open_display
    from codctl.dispatch import followers
    from codctl.stages.pipeline import run_training

    run.clear_stop()
    with open_display(config.runtime.progress_s) as display, run.start_attempt():
        result = run_training(config, run, display, followers.starter(run, config))
    text = f"run     {result['run']}\nreport  {result['report']}{_success(result['metrics'])}"
    _output.result("train", result, text, as_json=as_json)


def _directory(
    config: Config, runs_dir: Path, recipe: str, command: list[str], *, fresh: bool, fork: str | None, extend: bool
) -> RunDirectory:
    from codctl.runs.directory import RunDirectory, find_run
    from codctl.runs.fork import fork as fork_

    if fork is not None and not (runs_dir / config.name / "manifest.json").exists():
        return fork_(find_run(runs_dir, fork), runs_dir, config, recipe=recipe, command=command)
    return RunDirectory.create_or_continue(runs_dir, config, recipe=recipe, command=command, fresh=fresh, extend=extend)


def _dry_run(
    config: Config,
    runs_dir: Path,
    recipe: str,
    command: list[str],
    *,
    fresh: bool,
    extend: bool,
    slurm: bool,
    as_json: bool,
) -> None:
    from codctl.cli import _plan_text
    from codctl.config.freeze import digest, freeze
    from codctl.runs.directory import RunDirectory
    from codctl.stages.plan.fit import refuse_if_too_large
    from codctl.stages.plan.plan import make_plan

    place = runs_dir / config.name
    if place.exists() and not fresh:  # continuing writes nothing before the first attempt
        RunDirectory.create_or_continue(runs_dir, config, recipe=recipe, command=command, extend=extend)
    plan = make_plan(config)
    if not as_json:
        _output.data(_plan_text.render(config, plan, digest(config)))
    refuse_if_too_large(config, plan)
    found: dict[str, Any] = {"digest": digest(config), "config": freeze(config), "plan": plan.as_dict()}
    if slurm:
        found["sbatch"] = _job_script(config, runs_dir)
        _ask_slurm(found["sbatch"], config)
    _output.result("train", found, f"\n{found['sbatch']}" if slurm else "", as_json=as_json)


def _ask_slurm(script: str, config: Config) -> None:
    """Let SLURM check a job script, where there is a SLURM."""
    from codctl.dispatch import slurm_checks
    from codctl.errors import BackendError

    try:
        slurm_checks.ask(script, config.cluster)
    except BackendError as error:
        _output.talk(f"SLURM was not asked: {error.message}")


def _job_script(config: Config, runs_dir: Path) -> str:
    """The text that sbatch would get."""
    from codctl.dispatch import slurm
    from codctl.runs import code

    place = runs_dir / config.name
    path = code.find(runs_dir, code.digest()).path
    return slurm.script([place], config.cluster, folder=place / "slurm", name=config.name, code=path)


def _send(run: RunDirectory, config: Config, *, slurm: bool, as_json: bool) -> None:
    """Hand the run over, unless there is nothing left to do."""
    from codctl.dispatch import launch

    if run.status() == "finished" and not run.asks_for_more():
        _output.result(
            "train", {"run": str(run.path), "status": "finished"}, f"{run.path} is finished", as_json=as_json
        )
        return
    if run.status() == "queued":
        _refuse_queued(run)
    snapshot = launch.snapshot_for(run)
    found = launch.on_slurm(run, config, snapshot) if slurm else launch.detached(run, config, snapshot)
    who = f"job {', '.join(found['jobs'])}" if slurm else f"process {found['pid']}"
    text = f"run     {found['run']}\nsent    {who}\nlook    codctl status {run.title}, codctl logs -f {run.title}"
    _output.result("train", found, f"{text}\nstop    codctl cancel {run.title}", as_json=as_json)


def _refuse_queued(run: RunDirectory) -> None:
    from codctl.errors import RefusedError

    jobs = ", ".join((run.dispatch() or {}).get("jobs", [])) or "a worker that starts"
    raise RefusedError(
        f"run {run.title!r} is queued already ({jobs})",
        where=str(run.path),
        hint=f"codctl status {run.title}, or codctl cancel {run.title}",
    )


def _success(evaluations: Mapping[str, Mapping[str, list[float]]]) -> str:
    """Success by position with own hints, one row for each evaluation."""
    found = {name: arms["own"] for name, arms in evaluations.items() if "own" in arms}
    if not found:
        return ""
    longest = max(map(len, found.values()))
    rows = [[name, *points, *[None] * (longest - len(points))] for name, points in found.items()]
    return "\n\n" + _output.table(["success at position", *map(str, range(longest))], rows)
