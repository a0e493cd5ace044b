"""What a run is doing, for how long it has worked, and how long its phase will still take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from codctl.jobs.standing import Seen
from codctl.runs import attempt, heartbeat
from codctl.runs.evaluations import list_evaluations


def whereabouts(seen: Seen) -> dict[str, Any]:
    """`doing` (phase, done, total, of a running attempt), `left_s` (of that phase), `elapsed_s` (of all attempts),
    `sign_of_life_s` (how long ago), and `trouble` (what is wrong beside the work).

    `left_s` is null until the run has counted for long enough to know.
    """
    beat = heartbeat.read(seen.path) if is_alive(seen) else None
    doing = beat.get("doing") if beat and beat.get("attempt") == seen.record.get("number") else None
    known: Mapping[str, Any] = doing or {}
    left, age = known.get("left_s"), seconds_since(beat.get("at")) if beat else None
    return {
        "doing": {key: known.get(key) for key in ("phase", "done", "total")}
        | {key: known[key] for key in ("part", "work") if known.get(key)}
        if known
        else None,
        "left_s": round(max(0.0, left - (age or 0.0)), 1) if isinstance(left, int | float) else None,
        "elapsed_s": _elapsed_s(seen),
        "sign_of_life_s": age,
        "trouble": beat.get("trouble", "") if beat else "",
    }


def is_alive(seen: Seen) -> bool:
    """Whether its newest attempt works; otherwise a sign of life is of an earlier one."""
    return seen.status == "running" == seen.record.get("outcome")


def evaluations_by_run(runs_dir: Path) -> Counter[str]:
    """How many evaluations `codctl eval` has made of each run, by the run's name."""
    found = (one for one in list_evaluations(runs_dir) if not one.is_curve)
    return Counter(one.subject.name for one in found if one.subject and one.subject.kind == "run")


def seconds_since(text: Any) -> float | None:
    """Seconds since a moment in ISO format; None when it is none."""
    try:
        return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds())
    except (ValueError, TypeError):
        return None


def _elapsed_s(seen: Seen) -> float | None:
    number = seen.record.get("number")
    if not number:
        return None
    records = [*(attempt.read(seen.path, n) for n in range(1, number)), seen.record]
    spent = [float(record["seconds"]) for record in records if record.get("seconds") is not None]
    if is_alive(seen) and (now := seconds_since(seen.record.get("started"))) is not None:
        spent.append(now)
    return round(sum(spent), 1) if spent else None
