"""How runs and sweeps stand, in words."""

from __future__ import annotations

import os
import shlex
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from codctl.cli import _output
from codctl.cli._options import RUNS_DIR
from codctl.quantities import counted, share

_MOST_POSITIONS = 4
_TRAINING = "CoD-Train"
_PHASES = {
    "warm_start": "warm start",
    "look": _TRAINING,
    "train": _TRAINING,
    "validation": _TRAINING,
}  # as metrics.jsonl has them
_WITH_THE_SWEEP = ("planned", "interrupted", "cancelled", "paused")  # trials that go on when their sweep does
_ORDER = ("finished", "incomplete", "running", "queued", "paused", "planned", "interrupted", "cancelled", "died")


def text(found: dict[str, Any], runs_dir: Path, *, named: bool) -> str:
    """Everything for a person.

    Args:
        found: What codctl.jobs.overview found.
        runs_dir: The runs folder.
        named: The user asked for these very runs and sweeps: tell of the trials too.
    """
    if not found["runs"] and not found["sweeps"]:
        return f"no runs in {runs_dir}"
    blocks = [_runs(found["runs"])] if found["runs"] else []
    if found["not_shown"]:
        blocks.append(f"{found['not_shown']} more ended earlier: {again(runs_dir)('runs', 'list')}")
    blocks += [_sweep(sweep, again(runs_dir), trials=named) for sweep in found["sweeps"]]
    return "\n\n".join(blocks)


def _runs(entries: list[dict[str, Any]], sweep: str = "") -> str:
    """A row for each, then what to type next. Of a sweep's trials the names alone, and what concerns them alone."""
    unsaid = _WITH_THE_SWEEP if sweep else ()
    columns = ["trial" if sweep else "name", "status", "on", "at", "took", "success by position"]
    columns += ["evaluations", "alive", "job"]
    rows = [_row(entry, sweep) for entry in entries]
    used = [i for i in range(len(columns)) if i < 2 or any(row[i] for row in rows)]
    text = _output.table([columns[i] for i in used], [[row[i] for i in used] for row in rows])
    return "\n".join([text, *_hints(entry for entry in entries if entry["status"] not in unsaid)])


def _row(entry: dict[str, Any], sweep: str) -> list[str]:
    jobs = entry["jobs"]
    return [
        entry["name"].removeprefix(f"{sweep}/"),
        entry["status"],
        _on(entry),
        at(entry),
        took(entry),
        " ".join(filter(None, [curve(entry["success"]), _measured(entry)])),
        str(entry["evaluations"] or ""),
        "" if entry["sign_of_life_s"] is None else f"{_output.ago(entry['sign_of_life_s'])} ago",
        " ".join(filter(None, [*jobs[:1], f"+{len(jobs) - 1}" if len(jobs) > 1 else "", entry["waits_for"]])),
    ]


def _on(entry: dict[str, Any]) -> str:
    """slurm or local; another machine's own runs by its name."""
    host = entry["host"]
    return str(host) if entry["where"] == "local" and host not in (None, socket.gethostname()) else str(entry["where"])


def at(entry: dict[str, Any], *, exactly: bool = True) -> str:
    """Where a run is: `CoD-Train 34/100, 12 min left`.

    Args:
        entry: Of a run, as `overview` or `list_all` has it.
        exactly: With what changes all the time: counts of every phase, and the time left.
    """
    if entry["status"] == "finished":
        return ""
    if doing := entry["doing"]:
        has_count = doing["total"] and (exactly or doing["phase"] in (_TRAINING, "distillation"))
        text = f"{doing['phase']} {doing['done']}/{doing['total']}" if has_count else str(doing["phase"])
        left = entry["left_s"] if exactly else None
        if exactly:
            text = ", ".join(filter(None, (text, doing.get("part"), doing.get("work"))))
        return text if left is None else f"{text}, {_output.ago(left)} left"
    phase, step, steps = entry["phase"], entry["step"], entry.get("steps")
    if phase is None:
        return "starting" if entry["status"] == "running" else ""
    name = _PHASES.get(phase, str(phase))
    if step is None or phase in ("evaluation", "suites"):
        return name
    return f"{name} {step}/{steps}" if steps else f"{name} {step}"


def took(entry: dict[str, Any]) -> str:
    """For how long it has worked, in all its attempts."""
    return "" if entry["elapsed_s"] is None else _clock(entry["elapsed_s"])


def _measured(entry: dict[str, Any]) -> str:
    """Of which model the success is."""
    where, step = entry["success_in"], entry["success_step"]
    if not entry["success"] or where is None:
        return ""
    return (
        "(final model)"
        if where == "after"
        else f"(validation, step {step})"
        if where == "validation"
        else f"(step {step})"
    )


def curve(success: Sequence[float | None]) -> str:
    points = ["–" if value is None else share(value) for value in success]
    return " ".join(points if len(points) <= _MOST_POSITIONS else [*points[: _MOST_POSITIONS - 1], "…", points[-1]])


def _hints(entries: Iterable[dict[str, Any]]) -> Iterator[str]:
    """What to type next; for those that ended alike once."""
    alike: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for entry in entries:
        if entry["next"] or entry["trouble"] or entry["status"] == "unreadable":
            alike.setdefault((entry["status"], _why(entry)), []).append(entry)
    for (status, why), group in alike.items():
        more = f" and {len(group) - 1} more" if len(group) > 1 else ""
        yield f"{group[0]['name']}{more}: {', '.join(filter(None, (status, why)))}"
        if group[0]["next"]:
            yield f"  → {group[0]['next']}"


def _why(entry: dict[str, Any]) -> str:
    if entry["note"] or entry["trouble"]:
        return str(entry["note"] or entry["trouble"])
    if entry["missing_suites"]:
        return f"missing results: {', '.join(entry['missing_suites'])}"
    return str(entry["message"]) if entry["status"] in ("failed", "unreadable") else ""


def _sweep(sweep: dict[str, Any], again_: Callable[[str, str], str], *, trials: bool) -> str:
    lines = [headline(sweep)]
    if sweep["complete"] < sweep["trials"] and sweep["seconds_per_trial"]:
        lines.append(f"  {_clock(sweep['seconds_per_trial'])} a trial{_left(sweep['left_s'])}")
    if sweep["open"] and trials:
        lines += ["", _runs(sweep["open"], sweep["name"])]
        if sweep["open_not_shown"]:
            lines.append(f"{sweep['open_not_shown']} more are incomplete")
    elif sweep["open"] and not sweep["next"]:
        lines.append(f"  → {again_('status', sweep['name'])}")
    if sweep["next"]:
        lines.append(f"  → {sweep['next']}")
    if sweep["result"]:
        lines.append(f"  report {sweep['result']}")
    return "\n".join(lines)


def headline(sweep: dict[str, Any]) -> str:
    counts, rank = sweep["counts"], {status: place for place, status in enumerate(_ORDER)}
    shown = sorted(counts, key=lambda status: rank.get(status, len(rank)))
    return f"sweep {sweep['name']}: {counted(sweep['trials'], 'trial')}, " + ", ".join(
        f"{counts[s]} {s}" for s in shown
    )


def _left(left_s: float | None) -> str:
    return f", about {_clock(left_s)} left" if left_s is not None else ""


def _clock(seconds: float) -> str:
    from codctl.runs.pace import clock

    return clock(seconds)


def lines(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """One line for each run and sweep, and for each trial that went wrong, without what changes by itself."""
    for entry in found["runs"]:
        parts = [entry["status"], at(entry, exactly=False), curve(entry["success"])]
        yield entry["name"], f"{entry['name']}: " + ", ".join(filter(None, parts))
    for sweep in found["sweeps"]:
        yield f"sweep {sweep['name']}", headline(sweep)
        for entry in sweep["open"]:
            if entry["status"] in ("failed", "died"):
                yield entry["name"], f"{entry['name']}: {entry['status']} {entry['message']}".rstrip()


def again(runs_dir: Path) -> Callable[[str, str], str]:
    """How a verb and a name are typed, with this runs folder."""
    elsewhere = [] if runs_dir == Path(os.environ.get("CODCTL_RUNS_DIR", RUNS_DIR)) else ["--runs-dir", str(runs_dir)]
    return lambda verb, name: shlex.join(["codctl", verb, name, *elsewhere])
