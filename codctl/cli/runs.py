"""codctl runs: what was run, how it stands, its logs, two of them side by side, and what can go."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from codctl.cli import _output, control, status
from codctl.cli._options import RUNS_DIR, Json, RunName, RunsDir
from codctl.cli._runs_text import cleanable, compared, shown

app = typer.Typer(help="List runs, show how they stand, read their logs.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_(
    all_: Annotated[bool, typer.Option("--all", help="Also the trials of sweeps.")] = False,
    only: Annotated[str | None, typer.Option("--status", metavar="STATUS", help="Only those that stand so.")] = None,
    runs_dir: RunsDir = RUNS_DIR,
    as_json: Json = False,
) -> None:
    """List the runs in the runs folder."""
    from codctl.dispatch.listing import list_all

    found = [entry for entry in list_all(runs_dir, trials=all_) if only in (None, entry["status"])]
    columns = ["name", "status", "phase", "step", "started", "recipe"]
    text = _output.table(columns, [[entry[column] for column in columns] for entry in found])
    nothing = f"no runs in {runs_dir}" if only is None else f"no runs in {runs_dir} that are {only}"
    _output.result("runs list", {"runs": found}, text if found else nothing, as_json=as_json)


@app.command()
def show(run: RunName, runs_dir: RunsDir = RUNS_DIR, as_json: Json = False) -> None:
    """Show one run: status, attempts and why each ended, finished stages, latest numbers."""
    from codctl.dispatch.listing import describe
    from codctl.runs.directory import find_run

    found = describe(find_run(runs_dir, run))
    _output.result("runs show", found, shown(found), as_json=as_json)


@app.command()
def logs(
    run: RunName,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Wait for more until the run ends, also in its next attempts.")
    ] = False,
    attempt: Annotated[int | None, typer.Option("--attempt", help="Which attempt; the last by default.", min=1)] = None,
    runs_dir: RunsDir = RUNS_DIR,
    as_json: Json = False,
) -> None:
    """Print a run's log."""
    from codctl.dispatch.jobs import Jobs
    from codctl.dispatch.standing import status_of
    from codctl.errors import UsageError
    from codctl.runs.directory import find_run
    from codctl.runs.logs import read_logs

    if follow and as_json:
        raise UsageError("--follow and --json exclude each other", hint=f"codctl logs {run} --json")
    found, jobs = find_run(runs_dir, run), Jobs(10.0)
    if as_json:
        lines = list(read_logs(found, attempt))
        _output.result("runs logs", {"run": str(found.path), "lines": lines}, "", as_json=True)
        return
    for line in read_logs(
        found, attempt, follow=follow, status=lambda: status_of(found, jobs), say=lambda text: _output.talk(f"[{text}]")
    ):
        _output.data(line)


@app.command()
def compare(
    names: Annotated[list[str], typer.Argument(metavar="RUN RUN...", help="Two runs or more.")],
    runs_dir: RunsDir = RUNS_DIR,
    as_json: Json = False,
) -> None:
    """Show what was set differently and what came of it."""
    from codctl.errors import UsageError
    from codctl.runs.compare import compare as compare_
    from codctl.runs.directory import find_run

    if len(names) < 2:
        raise UsageError("comparing takes two runs or more", hint=f"codctl runs compare {names[0]} OTHER")
    found = compare_([find_run(runs_dir, name) for name in names])
    _output.result("runs compare", found, compared(found), as_json=as_json)


@app.command()
def clean(
    checkpoints: Annotated[
        bool, typer.Option("--checkpoints", help="Also checkpoints of finished runs; the final models stay.")
    ] = False,
    old: Annotated[bool, typer.Option("--old", help="Also what --fresh moved aside.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")] = False,
    runs_dir: RunsDir = RUNS_DIR,
    as_json: Json = False,
) -> None:
    """List what nobody needs, and delete it when told to: leftovers of killed processes, and unused code."""
    from codctl.runs.clean import find, remove

    found = find(runs_dir, checkpoints=checkpoints, old=old)
    total = sum(piece.bytes for piece in found.pieces)
    if not as_json:
        _output.data(cleanable(found.pieces, total) if found.pieces else "nothing to delete")
    for reason in found.kept:
        _output.talk(f"left alone: {reason}")
    removed, kept = list[str](), list(found.kept)
    if found.pieces and (yes or _agrees(as_json)):
        for piece, reason in remove(found.pieces, runs_dir):
            (kept if reason else removed).append(f"{piece.path}: {reason}" if reason else str(piece.path))
            if reason:
                _output.talk(f"left alone: {piece.path}: {reason}")
    text = f"deleted {len(removed)}" if removed else "nothing was deleted; --yes deletes" if found.pieces else ""
    result = {
        "pieces": [{"path": str(p.path), "kind": p.kind, "bytes": p.bytes} for p in found.pieces],
        "bytes": total,
        "removed": removed,
        "kept": kept,
    }
    _output.result("runs clean", result, text, as_json=as_json)


app.command("status")(status.status)
app.command("cancel")(control.cancel)
app.command("resume")(control.resume)


def _agrees(as_json: bool) -> bool:
    if as_json or not sys.stdin.isatty():
        return False
    return (_output.ask('Delete all of this? Type "yes": ', _output.talk) or "").strip() == "yes"
