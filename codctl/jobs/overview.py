"""How runs and sweeps stand, as one answer: counts, newest numbers, signs of life, and what to type next.

Only what is shown is read in full.
"""

from __future__ import annotations

import contextlib
import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.errors import CodctlError, UsageError
from codctl.files import lock
from codctl.files.seal import COMPLETE
from codctl.jobs.jobs import Jobs
from codctl.jobs.status import ALIVE, WRONG, RunStatus, activity, ask_launchers, read_status, seconds_since
from codctl.runs.directory import TRIALS, RunDirectory, list_runs, list_sweeps, read_sweep, trials_of
from codctl.runs.evaluations import list_evaluations
from codctl.runs.layout import Layout
from codctl.tracking.jsonl import Latest, latest

if TYPE_CHECKING:
    from codctl.files.records import Sweep

_NEXT = ("planned", "interrupted", "cancelled", "died", "failed", "paused")
RECENT = 10
SHOWN = 20  # trials of one sweep


def overview(
    runs: Sequence[RunDirectory], sweeps: Sequence[Path], jobs: Jobs, *, again: Callable[[str, str], str] | None = None
) -> dict[str, Any]:
    """How these runs and sweeps stand.

    Args:
        runs: Single runs.
        sweeps: Folders of sweeps.
        jobs: The scheduler.
        again: Turns a verb and a name into the command to type.

    Returns:
        `runs`, `sweeps` and `notes` (what could not be found out).
    """
    again = again or (lambda verb, name: shlex.join(["codctl", verb, name]))
    alone = [read_status(run.path, _title(run)) for run in runs]
    problems: list[str] = []
    plans = [(path, _plan(path, problems)) for path in sweeps]
    trials = [_trials(path, plan) for path, plan in plans]
    ask_launchers([*alone, *(one for group in trials for one in group)], jobs)
    folders = {*map(_root, runs), *(path.parents[1] for path in sweeps)}
    evaluations = sum((evaluations_by_run(folder) for folder in folders), Counter[str]())
    return {
        "runs": [_run(one, again, evaluations) for one in alone],
        "sweeps": [
            _sweep(path, plan, group, again, evaluations) for (path, plan), group in zip(plans, trials, strict=True)
        ],
        "notes": [*jobs.notes, *problems],
    }


def alive_or_recent(runs_dir: Path, jobs: Jobs) -> tuple[list[RunDirectory], list[Path], int]:
    """Without names: the runs that are alive and those that ended last, the sweeps, and how many runs are left out."""
    runs = {run.path: read_status(run.path, run.name) for run in list_runs(runs_dir)}
    ask_launchers(list(runs.values()), jobs)
    ended = sorted((one for one in runs.values() if one.status not in ALIVE), key=lambda one: one.changed)
    left_out = {one.path for one in ended[:-RECENT]}
    return [RunDirectory(path) for path in runs if path not in left_out], list_sweeps(runs_dir), len(left_out)


def evaluations_by_run(runs_dir: Path) -> Counter[str]:
    """How many evaluations `codctl eval` has made of each run, by the run's name."""
    found = (one for one in list_evaluations(runs_dir) if not one.is_curve)
    return Counter(one.subject.name for one in found if one.subject and one.subject.kind == "run")


def _title(run: RunDirectory) -> str:
    try:
        return run.title
    except CodctlError:
        return run.name


def _root(run: RunDirectory) -> Path:
    try:
        return run.root
    except CodctlError:
        return run.path.parent


def _plan(path: Path, problems: list[str]) -> Sweep | None:
    """The plan of a sweep; of one that is damaged only the trials that lie in its folder are known."""
    try:
        return read_sweep(path)
    except UsageError as error:
        problems.append(f"{error.where}: {error.message}; {error.hint}")
        return None


def _trials(path: Path, plan: Sweep | None) -> list[RunStatus]:
    """Every trial of the plan, also those that have not been started."""
    trials = plan["trials"] if plan else []
    planned = {trial["name"]: [suite["name"] for suite in trial["suites"]] for trial in trials}
    if not planned:
        planned = {run.name: [] for run in trials_of(path)}
    return [read_status(path / TRIALS / name, f"{path.name}/{name}", suites) for name, suites in planned.items()]


def _run(seen: RunStatus, again: Callable[[str, str], str], evaluations: Mapping[str, int]) -> dict[str, Any]:
    """The whole entry of a run: its newest numbers and signs of life too, unless it cannot be read."""
    is_readable = seen.status != "unreadable"
    newest = latest(seen.path / "metrics.jsonl") if is_readable else Latest()
    frozen, problem = _frozen(seen)
    total = _steps(frozen) if newest.phase in ("train", "validation") else None
    return {
        "name": seen.name,
        "path": str(seen.path),
        "status": seen.status,
        "where": seen.where,
        "host": seen.record.get("host"),
        "jobs": [job.id for job in seen.jobs],
        "waits_for": seen.waits_for,
        "attempt": seen.record.get("number"),
        "phase": _phase(seen, newest.phase) if is_readable else None,
        "step": newest.step,
        "steps": total,
        **((_final(seen) if is_readable else None) or _measured(newest)),
        **activity(seen),
        "evaluations": evaluations[seen.name],
        "missing_suites": list(seen.missing_suites),
        "message": seen.note or ("" if seen.status in ALIVE else str(seen.record.get("message") or "")),
        "note": seen.note or (problem.message if problem else ""),
        "next": problem.hint if problem else _next(seen, again),
    }


def _measured(newest: Latest) -> dict[str, Any]:
    return {
        "success": list(newest.success),
        "success_in": newest.measured_in,
        "success_step": newest.measured_at,
    }


def _final(seen: RunStatus) -> dict[str, Any] | None:
    """What the evaluation of a finished run found with its own hints; of a mixture there is no one curve."""
    from codctl.runs.eval_result import RESULT, EvalResult, means, read

    with contextlib.suppress(CodctlError):
        result = read(Layout(seen.path).evaluations / "after" / RESULT, within=seen.path)
        if isinstance(result, EvalResult) and len(result.parts) == 1 and (curve := result.parts[0].success("own")):
            return {"success": means(curve), "success_in": "after", "success_step": None}
    return None


def _sweep(
    path: Path,
    plan: Sweep | None,
    trials: Sequence[RunStatus],
    again: Callable[[str, str], str],
    evaluations: Mapping[str, int],
) -> dict[str, Any]:
    counts = Counter("incomplete" if one.missing_suites else one.status for one in trials)
    open_ones = [one for one in trials if one.status != "finished" or one.missing_suites]
    shown = _worth_showing(open_ones)
    each_s, left_s = _pace(trials)
    at_work = lock.is_locked(path / "lock") or not {one.status for one in trials}.isdisjoint(ALIVE)
    entries = [_run(one, again, evaluations) for one in shown]
    for entry in entries:
        if entry["status"] == "unreadable" and plan:  # resuming the sweep leaves it out
            words = [*plan["command"], "--retry-failed"]
            is_usual = "--runs-dir" in " ".join(words) or path.parents[1] == Path("runs")
            entry["next"] = shlex.join(words if is_usual else [*words, "--runs-dir", str(path.parents[1])])
    if at_work:  # its launcher starts what is left
        for entry in entries:
            entry["next"] = again("logs", entry["name"]) if entry["status"] in WRONG else None
    return {
        "name": path.name,
        "path": str(path),
        "created": plan["created"] if plan else None,
        "at_work": at_work,
        "trials": len(trials),
        "counts": dict(counts),
        "complete": len(trials) - len(open_ones),
        "open": entries,
        "open_not_shown": len(open_ones) - len(shown),
        "seconds_per_trial": each_s,
        "left_s": left_s,
        "result": str(path / "report.html") if (path / "report.html").is_file() else None,
        "next": again("resume", path.name) if open_ones and not at_work else None,
    }


def _worth_showing(trials: Sequence[RunStatus]) -> list[RunStatus]:
    """What went wrong and what moves first; a thousand failures alike do not hide what still runs."""
    rank = {status: place for place, status in enumerate((*WRONG, "running", "paused"))}
    ordered = sorted(trials, key=lambda one: rank.get(one.status, len(rank)))
    wrong = [one for one in ordered if one.status in WRONG]
    kept = [*wrong[: SHOWN // 2], *(one for one in ordered if one.status not in WRONG)][:SHOWN]
    return [*kept, *wrong[SHOWN // 2 :][: SHOWN - len(kept)]]


def _pace(trials: Sequence[RunStatus]) -> tuple[float | None, float | None]:
    """Seconds of a finished trial, and seconds left at the present width; for reading, nothing is decided by them."""
    took = [float(one.record["seconds"]) for one in trials if one.status == "finished" and one.record.get("seconds")]
    if not took:
        return None, None
    each = sum(took) / len(took)
    running = [one for one in trials if one.status == "running"]
    if not running:
        return round(each, 1), None
    waiting = sum(1 for one in trials if one.status in ("queued", "paused", "planned"))
    started = [max(0.0, each - (seconds_since(one.record.get("started")) or 0.0)) for one in running]
    return round(each, 1), round((each * waiting + sum(started)) / len(running), 1)


def _next(seen: RunStatus, again: Callable[[str, str], str]) -> str | None:
    if seen.status == "unreadable":
        return seen.hint or None
    if seen.status == "failed":
        return f"{again('logs', seen.name)}, then {again('resume', seen.name)}"
    if seen.missing_suites or (seen.status in _NEXT and not (seen.status == "paused" and seen.jobs)):
        return again("resume", seen.name)
    return None


def _phase(seen: RunStatus, measured: str | None) -> str | None:
    """Where it is: what comes after the training leaves no metrics, but the training leaves a sealed model."""
    if seen.status == "finished":
        return "finished"
    if not (Layout(seen.path).final_model / COMPLETE).is_file():
        return measured
    return "suites" if Layout(seen.path).suites.is_dir() else "evaluation"


def _frozen(seen: RunStatus) -> tuple[Mapping[str, Any], UsageError | None]:
    """Its config.json, or what is wrong with that."""
    run = RunDirectory(seen.path)
    if seen.status == "unreadable" or not run.manifest_path.is_file():
        return {}, None
    try:
        return run.frozen(), None
    except UsageError as error:
        return {}, error


def _steps(frozen: Mapping[str, Any]) -> int | None:
    try:
        return int(frozen["config"]["train"]["steps"])
    except (ValueError, KeyError, TypeError):
        return None
