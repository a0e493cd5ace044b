"""One run, several side by side, and what can go, in words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from codctl.cli import _output
from codctl.cli._status_text import at, curve, took
from codctl.quantities import position, with_interval

if TYPE_CHECKING:
    from codctl.runs.clean import Piece

_KINDS = {
    "leftover": "left half-written by a killed process",
    "code": "code snapshot that no run uses",
    "stage": "warm start that no run uses any more",
    "checkpoints": "checkpoints of a finished run",
    "old": "moved aside by --fresh",
}


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
    from codctl.runs.eval_result import Point, of

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
        curves = [{p["position"]: with_interval(of(Point, p)) for p in curve or ()} for curve in entry["curves"]]
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
