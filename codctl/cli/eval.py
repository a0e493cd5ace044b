"""codctl eval: a suite on a run, a model folder or a scripted policy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codctl.cli import _output
from codctl.cli._options import RUNS_DIR, Json, Overrides, RunsDir

if TYPE_CHECKING:
    from codctl.stages.evaluation import Subject


def evaluate(
    overrides: Overrides = None,
    suite: Annotated[str, typer.Option("--suite", help="Which evaluation.")] = "position-curve",
    run: Annotated[str | None, typer.Option("--run", help="A run: its newest finished model.")] = None,
    model: Annotated[
        Path | None, typer.Option("--model", metavar="PATH", help="A Hugging Face folder with tokenizer.")
    ] = None,
    policy: Annotated[
        str | None, typer.Option("--policy", metavar="NAME", help="A scripted policy: bayes, informed, random.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=2, help="Play N packs.")] = None,
    runs_dir: RunsDir = RUNS_DIR,
    as_json: Json = False,
) -> None:
    """Measure success by position in the pack. Worlds are chosen by key=value: preset=hard length=8."""
    from codctl.cli._progress import open_display
    from codctl.config.compose_eval import load_evalspec
    from codctl.stages.evaluation import check_spec, default_spec, evaluate_subject

    subject = _subject(run, model, policy, runs_dir)
    limited = [f"packs={limit}"] if limit is not None else []
    spec = load_evalspec(default_spec(subject, suite), [*(overrides or []), *limited])
    check_spec(spec)
    if subject.kind != "policy":
        from codctl.stages.setup import prepare_process

        prepare_process(subject.config.runtime.threads if subject.config else 2)
    with open_display(10.0) as display:
        found = evaluate_subject(subject, spec, display).result
    _output.result("eval", found, _text(found), as_json=as_json)


def _subject(run: str | None, model: Path | None, policy: str | None, runs_dir: Path) -> Subject:
    from codctl.errors import UsageError
    from codctl.stages.evaluation import Subject, subject_of_run

    if sum(value is not None for value in (run, model, policy)) != 1:
        raise UsageError("give one of --run, --model and --policy", hint="codctl eval --policy bayes")
    if run is not None:
        from codctl.runs.directory import find_run

        return subject_of_run(find_run(runs_dir, run))
    if model is not None:
        return Subject("model", str(model), model)
    return Subject("policy", str(policy))


def _text(found: dict[str, Any]) -> str:
    positions = range(found["length"])
    rows: list[list[object]] = []
    for arm, curves in found["arms"].items():
        for measure, curve in curves.items():
            points = {point["position"]: point for point in curve}
            cells = [
                f"{points[p]['mean']:.2f} [{points[p]['low']:.2f} {points[p]['high']:.2f}]" if p in points else "–"
                for p in positions
            ]
            rows.append([arm, measure, *cells])
    rows += [[name, "ceiling", *(f"{value:.2f}" for value in values)] for name, values in found["ceilings"].items()]
    head = f"{found['suite']}: {found['family']} {found['preset']}, {found['packs']} packs of {found['length']}"
    return f"{head}\n{_output.table(['arm', 'measure', *(f'position {p}' for p in positions)], rows)}"
