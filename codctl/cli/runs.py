"""codctl runs: what was run, how it stands, and its logs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from codctl.cli import _output
from codctl.cli._options import RUNS_DIR, Json, RunName, RunsDir

app = typer.Typer(help="List runs, show how they stand, read their logs.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_(runs_dir: RunsDir = RUNS_DIR, as_json: Json = False) -> None:
    """List the runs in the runs folder."""
    from codctl.tracking.summary import summarize_all

    found = summarize_all(runs_dir)
    columns = ["name", "status", "phase", "step", "started", "recipe"]
    text = _output.table(columns, [[entry[column] for column in columns] for entry in found])
    _output.result("runs list", {"runs": found}, text if found else f"no runs in {runs_dir}", as_json=as_json)


@app.command()
def show(run: RunName, runs_dir: RunsDir = RUNS_DIR, as_json: Json = False) -> None:
    """Show one run: status, attempts, finished stages, latest numbers."""
    from codctl.runs.directory import find_run
    from codctl.tracking.summary import describe

    found = describe(find_run(runs_dir, run))
    _output.result("runs show", found, _text(found), as_json=as_json)


@app.command()
def logs(
    run: RunName,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more until the run ends.")] = False,
    attempt: Annotated[int | None, typer.Option("--attempt", help="Which attempt; the last by default.", min=1)] = None,
    runs_dir: RunsDir = RUNS_DIR,
) -> None:
    """Print a run's log."""
    from codctl.runs.directory import find_run
    from codctl.runs.logs import find_log, read_log

    found = find_run(runs_dir, run)
    for line in read_log(find_log(found, attempt), found, follow=follow):
        _output.data(line)


def _text(found: dict[str, Any]) -> str:
    head = {key: found[key] for key in ("name", "status", "path", "recipe", "command", "created", "digest")}
    head["stages"] = ", ".join(found["stages"]) or "none finished"
    if found["report"]:
        head["report"] = found["report"]
    lines = [f"{key:<8}  {value}" for key, value in head.items()]
    attempts = [[a["number"], a["started"], a["ended"], a["outcome"]] for a in found["attempts"]]
    if attempts:
        lines += ["", _output.table(["attempt", "started", "ended", "outcome"], attempts)]
    for phase, record in found["latest"].items():
        numbers = [[name, float(value)] for name, value in record["metrics"].items()]
        lines += ["", f"{phase}, step {record['step']}", _output.table(["metric", "value"], numbers)]
    return "\n".join(lines)
