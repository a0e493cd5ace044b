"""codctl evals: the evaluations that were played, listed, shown again, compared, and removed."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codctl import quantities
from codctl.cli import _complete as complete
from codctl.cli import _output
from codctl.cli._browser import open_page
from codctl.cli._help import Command, Group
from codctl.cli._options import RUNS_DIR, Json, OpenPage, RunsDir

if TYPE_CHECKING:
    from codctl.runs.eval_result import Curve, EvalResult, PartHead, StepsResult
    from codctl.runs.evaluations import StoredEvaluation


app = typer.Typer(
    help="List, show, compare and delete evaluations.", cls=Group, no_args_is_help=True, rich_markup_mode=None
)

_NAME = "An evaluation's id as `codctl evals list` shows it, its name, or its folder."
Name = Annotated[str, typer.Argument(metavar="EVALUATION", autocompletion=complete.evaluations, help=_NAME)]
Names = Annotated[list[str], typer.Argument(metavar="EVALUATION", autocompletion=complete.evaluations, help=_NAME)]


@app.command("list", cls=Command)
def list_(
    run: Annotated[
        str | None, typer.Option("--run", metavar="RUN", autocompletion=complete.runs, help="Only those of this run.")
    ] = None,
    suite: Annotated[
        str | None,
        typer.Option("--suite", metavar="NAME", autocompletion=complete.suites, help="Only those of this suite."),
    ] = None,
    runs_dir: RunsDir = RUNS_DIR,
    as_json: Json = False,
) -> None:
    """List evaluations, the newest first.

    Model and step, suite, worlds, packs, success, age and state.
    """
    from codctl.runs.directory import find_run
    from codctl.runs.evaluations import list_evaluations

    name = find_run(runs_dir, run).title if run is not None else None
    found = [
        summary(one)
        for one in list_evaluations(runs_dir)
        if name in (None, one.subject.name if one.subject else "") and suite in (None, one.suite)
    ]
    text = listed(found) if found else f"no such evaluations in {runs_dir}; `codctl eval --suite NAME` plays one"
    _output.result("evals list", {"evaluations": found}, text, as_json=as_json)


@app.command(cls=Command)
def show(name: Name, opens: OpenPage = False, runs_dir: RunsDir = RUNS_DIR, as_json: Json = False) -> None:
    """Show the result of an evaluation again."""
    from codctl.errors import UsageError
    from codctl.runs.eval_result import to_json
    from codctl.runs.evaluations import find_evaluation

    one = find_evaluation(runs_dir, name)
    if one.result is None:
        command = shlex.join(one.head.command) if one.head else "the command that began it"
        why = f"is damaged: {one.problem}" if one.problem else "has no result yet"
        raise UsageError(f"{one.name} {why}", where=str(one.path), hint=f"{command} plays the rest")
    result = replace(one.result, folder=str(one.path))
    _output.result("evals show", to_json(result), _text(result), as_json=as_json)
    if opens:
        open_page(one.path / "report.html")


@app.command(cls=Command)
def compare(
    names: Names,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Where to write the page; beside the evaluations by default."),
    ] = None,
    opens: OpenPage = False,
    runs_dir: RunsDir = RUNS_DIR,
    as_json: Json = False,
) -> None:
    """Compare models on the packs that all have played.

    The others are compared with the first, with intervals of the differences within packs.
    """
    from codctl.cli._evaluation_text import comparison_text
    from codctl.errors import UsageError
    from codctl.evaluate.compare_evaluations import compare_stored
    from codctl.runs.evaluations import find_evaluation

    found = list({one.path: one for one in (find_evaluation(runs_dir, name) for name in names)}.values())
    if len(found) < 2:
        raise UsageError("comparing takes two evaluations or more", hint=f"codctl evals compare {names[0]} OTHER")
    result = compare_stored(found, runs_dir, ["codctl", *sys.argv[1:]], out)
    _output.result("evals compare", result.to_json(), comparison_text(result), as_json=as_json)
    if opens:
        open_page(Path(result.report))


@app.command(cls=Command)
def rm(
    names: Names,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")] = False,
    runs_dir: RunsDir = RUNS_DIR,
    as_json: Json = False,
) -> None:
    """Delete evaluations.

    Only folders that codctl eval has made, and none in use.
    """
    from codctl.errors import UsageError
    from codctl.runs.evaluations import find_evaluation, remove

    found = list({one.path: one for one in (find_evaluation(runs_dir, name) for name in names)}.values())
    if not as_json:
        _output.data(listed([summary(one) for one in found]))
    if not yes and not _output.agrees("Delete this?", as_json=as_json):
        raise UsageError("nothing was deleted", hint="--yes deletes without asking")
    for one in found:
        remove(one, runs_dir)
    text = f"deleted {len(found)}"
    _output.result("evals rm", {"removed": [str(one.path) for one in found]}, text, as_json=as_json)


def _text(result: EvalResult | StepsResult) -> str:
    from codctl.cli._evaluation_text import steps_text, suite_text
    from codctl.runs.eval_result import EvalResult

    return suite_text(result) if isinstance(result, EvalResult) else steps_text(result)


def summary(one: StoredEvaluation) -> dict[str, Any]:
    """What a list says about an evaluation."""
    from codctl.runs.eval_result import Begun, to_json

    return {
        "id": one.id,
        "name": one.name,
        "path": str(one.path),
        "model": one.subject.title if one.subject else None,
        "subject": to_json(one.subject) if one.subject else {},
        "suite": one.suite,
        "worlds": list(dict.fromkeys(f"{part.family} {part.preset}" for part in one.parts)),
        "packs": max((part.packs for part in one.parts), default=None),
        "success": [_ends(part) for part in one.parts] if one.result else [],
        "state": one.state,
        "problem": one.problem,
        "played": one.played,
        "trajectories": one.head.trajectories if isinstance(one.head, Begun) else None,
        "changed": one.changed_s,
    }


def listed(found: Sequence[Mapping[str, Any]]) -> str:
    headers = ["id", "model", "suite", "worlds", "packs", "first → last", "age", "state"]
    return _output.table(headers, [_row(one) for one in found])


def _row(one: Mapping[str, Any]) -> list[object]:
    success = ", ".join(_success(ends) for ends in one["success"]) or "–"
    return [
        one["id"],
        one["model"] or one["name"],
        one["suite"] or "–",
        ", ".join(one["worlds"]) or "–",
        one["packs"],
        success,
        _output.ago(max(0.0, time.time() - one["changed"])),
        _state(one),
    ]


def _state(one: Mapping[str, Any]) -> str:
    if one["problem"]:
        return f"damaged: {one['problem']}"
    total = one["trajectories"]
    is_partly = one["state"] in ("partly", "running") and not one["success"] and total
    return f"{one['state']}, {quantities.percent(one['played'] / total)}" if is_partly else str(one["state"])


def _success(ends: Sequence[float]) -> str:
    return " → ".join(quantities.share(value) for value in ends) or "–"


def _ends(part: PartHead) -> list[float]:
    """Success of the first arm at the first and the last position; over several models, of the last of them."""
    from codctl.runs.eval_result import PartResult, StepsPart

    points: Curve = ()
    if isinstance(part, PartResult):
        points = next((arm.success for arm in part.arms.values()), ())
    elif isinstance(part, StepsPart):
        points = next((models[-1].success for models in part.arms.values() if models), ())
    return [points[0].mean, points[-1].mean] if points else []
