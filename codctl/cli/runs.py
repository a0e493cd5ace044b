"""codctl runs: list, show, compare and clean up runs."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from codctl.cli import _complete as complete
from codctl.cli import _output, control, status
from codctl.cli._help import Command, Group
from codctl.cli._options import RUNS_DIR, Json, RunName, RunsDir
from codctl.cli._runs_text import cleanable, compared, listed, shown

app = typer.Typer(help="List, show, compare and clean up runs.", cls=Group, no_args_is_help=True, rich_markup_mode=None)


@app.command("list", cls=Command)
def list_(
    all_: Annotated[bool, typer.Option("--all", help="Also the trials of sweeps.")] = False,
    only: Annotated[
        str | None,
        typer.Option(
            "--status", metavar="STATUS", autocompletion=complete.statuses, help="Only runs with this status."
        ),
    ] = None,
    runs_dir: RunsDir = RUNS_DIR,
    as_json: Json = False,
) -> None:
    """List all runs."""
    from codctl.jobs.listing import list_all

    found = [entry for entry in list_all(runs_dir, trials=all_) if only in (None, entry["status"])]
    text = listed(found)
    nothing = f"no runs in {runs_dir}" if only is None else f"no runs in {runs_dir} with status {only}"
    _output.result("runs list", {"runs": found}, text if found else nothing, as_json=as_json)


@app.command(cls=Command)
def show(run: RunName, runs_dir: RunsDir = RUNS_DIR, as_json: Json = False) -> None:
    """Show one run in full.

    Status, attempts and why each ended, finished stages, newest metrics.
    """
    from codctl.jobs.listing import describe
    from codctl.runs.directory import find_run

    found = describe(find_run(runs_dir, run))
    _output.result("runs show", found, shown(found), as_json=as_json)


@app.command(cls=Command, hidden=True)
def logs(
    run: RunName,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Keep printing until the run ends, through all its attempts.")
    ] = False,
    attempt: Annotated[
        int | None, typer.Option("--attempt", metavar="N", min=1, help="Which attempt; the last by default.")
    ] = None,
    runs_dir: RunsDir = RUNS_DIR,
    as_json: Json = False,
) -> None:
    """Print a run's log."""
    from codctl.errors import UsageError
    from codctl.jobs.jobs import Jobs
    from codctl.jobs.status import status_of
    from codctl.runs.directory import find_run
    from codctl.runs.logs import read_logs

    if follow and as_json:
        raise UsageError("--follow and --json cannot be combined", hint=f"codctl logs {run} --json")
    found, jobs = find_run(runs_dir, run), Jobs(10.0)
    if as_json:
        lines = list(read_logs(found, attempt))
        _output.result("runs logs", {"run": str(found.path), "lines": lines}, "", as_json=True)
        return
    for line in read_logs(
        found, attempt, follow=follow, status=lambda: status_of(found, jobs), say=lambda text: _output.talk(f"[{text}]")
    ):
        _output.data(line)


@app.command(cls=Command)
def compare(
    names: Annotated[list[str], typer.Argument(metavar="RUN", autocompletion=complete.runs, help="Two runs or more.")],
    runs_dir: RunsDir = RUNS_DIR,
    as_json: Json = False,
) -> None:
    """Compare the settings and results of runs."""
    from codctl.errors import UsageError
    from codctl.runs.compare import compare as compare_
    from codctl.runs.directory import find_run

    if len(names) < 2:
        raise UsageError("comparing takes two runs or more", hint=f"codctl runs compare {names[0]} OTHER")
    found = compare_([find_run(runs_dir, name) for name in names])
    _output.result("runs compare", found, compared(found), as_json=as_json)


@app.command(cls=Command)
def clean(
    checkpoints: Annotated[
        bool, typer.Option("--checkpoints", help="Also checkpoints of finished runs; the final models stay.")
    ] = False,
    old: Annotated[bool, typer.Option("--old", help="Also what --fresh moved aside.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")] = False,
    runs_dir: RunsDir = RUNS_DIR,
    as_json: Json = False,
) -> None:
    """List what is no longer needed, and delete it after asking.

    Leftovers of killed processes and code snapshots that no run uses.
    """
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
    text = f"deleted {len(removed)}" if removed else "nothing was deleted; --yes deletes it" if found.pieces else ""
    result = {
        "pieces": [{"path": str(p.path), "kind": p.kind, "bytes": p.bytes} for p in found.pieces],
        "bytes": total,
        "removed": removed,
        "kept": kept,
    }
    _output.result("runs clean", result, text, as_json=as_json)


# The same as the commands at the top: they keep working here, and help names one place.
app.command("status", cls=Command, hidden=True)(status.status)
app.command("cancel", cls=Command, hidden=True)(control.cancel)
app.command("resume", cls=Command, hidden=True)(control.resume)


def _agrees(as_json: bool) -> bool:
    if as_json or not sys.stdin.isatty():
        return False
    return (_output.ask('Delete all of this? Type "yes": ', _output.talk) or "").strip() == "yes"
