"""codctl runs: list, show, compare and clean up runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codctl.cli import _complete as complete
from codctl.cli import _output, control, status
from codctl.cli._help import Command, Group
from codctl.cli._options import RUNS_DIR, Json, RunName, RunsDir
from codctl.cli._status_text import at, curve, took
from codctl.quantities import position, with_interval

if TYPE_CHECKING:
    from codctl.runs.clean import Piece


app = typer.Typer(help="List, show, compare and clean up runs.", cls=Group, no_args_is_help=True, rich_markup_mode=None)

_KINDS = {
    "leftover": "left half-written by a killed process",
    "code": "code snapshot that no run uses",
    "stage": "warm start that no run uses any more",
    "checkpoints": "checkpoints of a finished run",
    "old": "moved aside by --fresh",
}


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
    if found.pieces and (yes or _output.agrees("Delete all of this?", as_json=as_json)):
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


def listed(entries: Sequence[dict[str, Any]]) -> str:
    """A row for each run."""
    columns = ["name", "status", "at", "took", "started", "evaluations", "recipe"]
    rows = [
        [
            entry["name"],
            entry["status"],
            at(entry),
            took(entry),
            _output.moment(entry["started"]).replace(" ", "\xa0"),
            str(entry["evaluations"] or ""),
            entry["recipe"],
        ]
        for entry in entries
    ]
    used = [i for i in range(len(columns)) if i < 2 or any(row[i] for row in rows)]
    return _output.table([columns[i] for i in used], [[row[i] for i in used] for row in rows])


def cleanable(pieces: Sequence[Piece], total: int) -> str:
    rows = [[_size(piece.bytes), _KINDS[piece.kind], str(piece.path)] for piece in pieces]
    return _output.table(["size", "what", "path"], rows) + f"\n{_size(total)} in all"


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def shown(found: dict[str, Any]) -> str:
    head = {key: found[key] for key in ("name", "status", "path", "recipe", "command", "created", "digest")}
    head["stages"] = ", ".join(found["stages"]) or "none finished"
    made_as = f"{found['made_as']}, then copied or renamed" if found["made_as"] else None
    optional = {
        "made as": made_as,
        "sweep": found["sweep"],
        "suites": ", ".join(found["suites"]),
        "report": found["report"],
    }
    head |= {key: value for key, value in optional.items() if value}
    head["created"] = _output.moment(head["created"])
    if problem := found["problem"]:
        head["problem"] = f"{problem['message']} → {problem['hint']}"
    if sent := found["dispatch"]:
        jobs = f", job {', '.join(sent['jobs'])}" if sent.get("jobs") else ""
        head["sent"] = f"{sent.get('where')}{jobs}, {_output.moment(sent.get('submitted'))}, code {sent.get('code')}"
    beat = found["heartbeat"]
    if beat and found["status"] in ("running", "died"):
        head["beat" if found["status"] == "died" else "alive"] = (
            f"process {beat.get('pid')} on {beat.get('host')}, {_output.moment(beat.get('at'))}"
        )
    if found["stop"]:
        head["asked"] = f"to {found['stop']}"
    lines = [_output.facts([(key.ljust(8), str(value)) for key, value in head.items()])]
    if found["attempts"]:
        lines += ["", _attempts(found["attempts"])]
    if found["evaluations"]:
        lines += ["", _evaluations(found["evaluations"])]
    for change in found["environment"]:
        lines += ["", f"attempt {change['attempt']} ran in a different environment from {change['before']}:"]
        lines.append(_output.table(["what", "before", "then"], change["changed"]))
    for phase, record in found["latest"].items():
        numbers = [[_metric(name), float(value)] for name, value in record["metrics"].items() if value is not None]
        lines += ["", f"{phase}, step {record['step']}", _output.table(["metric", "value"], numbers)]
    return "\n".join(lines)


def _evaluations(evaluations: Sequence[dict[str, Any]]) -> str:
    rows = [
        [
            one["suite"] if len(one["parts"]) < 2 else f"{one['suite']}, {part['name'] or ''}",
            _model(one["subject"]),
            part.get("packs"),
            curve(part.get("success") or []),
            one["state"],
            one["id"],
        ]
        for one in evaluations
        for part in one["parts"] or [{"name": None}]
    ]
    return _output.table(["evaluation", "model", "packs", "success by position", "state", "id"], rows)


def _attempts(attempts: Sequence[dict[str, Any]]) -> str:
    columns = ["attempt", "started", "seconds", "host", "job", "outcome", "why"]
    rows = [
        [
            a["number"],
            _output.moment(a["started"]),
            a.get("seconds"),
            a.get("host"),
            a.get("job"),
            a["outcome"],
            _why(a),
        ]
        for a in attempts
    ]
    used = [i for i, name in enumerate(columns) if name not in ("job", "why") or any(row[i] for row in rows)]
    return _output.table([columns[i] for i in used], [[row[i] for i in used] for row in rows])


def _why(attempt: dict[str, Any]) -> str:
    message = str(attempt.get("message") or "")
    return "" if message == attempt["outcome"] else message


def compared(found: dict[str, Any]) -> str:
    from codctl.cod.arms import title_of
    from codctl.runs.eval_result import Estimate, of

    runs = found["runs"]
    names = [run["name"] for run in runs]
    facts = ("status", "recipe", "digest", "attempts", "seconds", "code")
    rows = [[fact, *(_plain(run[fact]) for run in runs)] for fact in facts]
    blocks = [_output.table(["", *names], rows)]
    if found["config"]:
        rows = [[entry["key"], entry["class"], *map(_output.compact, entry["values"])] for entry in found["config"]]
        blocks.append(_output.table(["key", "class", *names], rows))
    else:
        blocks.append("the settings are the same")
    for entry in found["success"]:
        curves = [{p["position"]: with_interval(of(Estimate, p)) for p in curve or ()} for curve in entry["curves"]]
        places = sorted({place for curve in curves for place in curve})
        points: list[list[object]] = [["model", *map(_model, entry["models"])]]
        points += [[str(position(place)), *(curve.get(place) for curve in curves)] for place in places]
        title = f"success, {entry['evaluation']}, {title_of(entry['arm'])} (95 % interval)"
        blocks.append(f"{title}\n{_output.table(['position', *names], points)}")
    return "\n\n".join(blocks)


def _model(subject: dict[str, Any] | None) -> str | None:
    from codctl.runs.eval_result import Subject, of

    return of(Subject, subject).model if subject else None


def _metric(name: str) -> str:
    """A metric as people read it: files and MLflow count positions from 0."""
    return re.sub(r"/position_(\d+)$", lambda found: f" at position {position(int(found[1]))}", name)


def _plain(value: Any) -> object:
    return ", ".join(value) if isinstance(value, list) else value
