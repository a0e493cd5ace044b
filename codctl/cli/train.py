"""codctl train: every stage that a recipe names."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from codctl.cli import _output
from codctl.cli._options import RUNS_DIR, Json, Overrides, RecipeName, RunsDir


def train(
    recipe: RecipeName,
    overrides: Overrides = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the run; the recipe's name otherwise.")] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start anew; an earlier run of this name is moved aside.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, print the frozen config, write nothing.")
    ] = False,
    runs_dir: RunsDir = RUNS_DIR,
    as_json: Json = False,
) -> None:
    """Run every stage of a recipe. The same command again continues, or does nothing when all is done."""
    from codctl.config.compose import load_config
    from codctl.config.freeze import digest, freeze
    from codctl.runs.directory import RunDirectory
    from codctl.stages.preflight import preflight

    config = load_config(recipe, [*(overrides or []), *([f'name="{name}"'] if name else [])])
    preflight(config)
    command = ["codctl", *sys.argv[1:]]
    place = runs_dir / config.name
    if dry_run:
        if place.exists() and not fresh:  # continuing writes nothing before the first attempt
            RunDirectory.create_or_continue(runs_dir, config, recipe=recipe, command=command)
        frozen: dict[str, Any] = {"schema": 1, "digest": digest(config), "config": freeze(config)}
        if as_json:
            _output.result("train", frozen, "", as_json=True)
        else:
            _output.document(frozen)
        return

    from codctl.cli._progress import open_display
    from codctl.stages.pipeline import run_training

    run = RunDirectory.create_or_continue(runs_dir, config, recipe=recipe, command=command, fresh=fresh)
    with open_display(config.runtime.progress_s) as display, run.start_attempt():
        result = run_training(config, run, display)
    text = f"run     {result['run']}\nreport  {result['report']}{_success(result['metrics'])}"
    _output.result("train", result, text, as_json=as_json)


def _success(evaluations: Mapping[str, Mapping[str, list[float]]]) -> str:
    """Success by position with own hints, one row for each evaluation."""
    found = {name: arms["own"] for name, arms in evaluations.items() if "own" in arms}
    if not found:
        return ""
    longest = max(map(len, found.values()))
    rows = [[name, *points, *[None] * (longest - len(points))] for name, points in found.items()]
    return "\n\n" + _output.table(["success at position", *map(str, range(longest))], rows)
