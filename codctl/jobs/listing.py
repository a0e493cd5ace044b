"""Every run in a list, or one in full. From files; the scheduler is asked for those in its hands."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from codctl.errors import CodctlError
from codctl.files.seal import is_sealed
from codctl.jobs.jobs import Jobs
from codctl.jobs.overview import evaluations_by_run
from codctl.jobs.status import RunStatus, activity, ask_launchers, read_status, status_of
from codctl.runs import attempt, manifest
from codctl.runs.directory import RunDirectory, is_linked_trial, list_runs, list_sweeps, trials_of
from codctl.runs.eval_result import means
from codctl.runs.evaluations import StoredEvaluation, evaluations_of
from codctl.tracking import jsonl
from codctl.tracking.jsonl import Latest, latest


def list_all(runs_dir: Path, *, trials: bool = False) -> list[dict[str, Any]]:
    """One entry for each run; a damaged one is listed with what is wrong.

    Args:
        runs_dir: The runs folder.
        trials: Also the trials of sweeps.
    """
    runs = list_runs(runs_dir)
    if trials:
        runs += [trial for sweep in list_sweeps(runs_dir) for trial in trials_of(sweep)]
    seen = [read_status(run.path, _name(run, runs_dir)) for run in runs]
    ask_launchers(seen, Jobs())
    evaluations = evaluations_by_run(runs_dir)
    return [{**_entry(one), **activity(one), "evaluations": evaluations[one.name]} for one in seen]


def describe(run: RunDirectory) -> dict[str, Any]:
    """All that is known about a run without loading anything heavy."""
    written, report, sweep = run.manifest(), run.path / "report.html", run.sweep
    attempts = run.attempts()
    return {
        "name": run.title,
        "path": str(run.path),
        "status": status_of(run, Jobs()),
        "recipe": written["recipe"],
        "command": shlex.join(written["command"]),
        "made_as": run.copy_of,
        "created": written["created"],
        "digest": written["digest"],
        "machine": written["machine"],
        "sweep": sweep.name if sweep else None,
        "dispatch": run.dispatch(),
        "heartbeat": run.heartbeat(),
        "stop": run.stop_requested(),
        "attempts": attempts,
        "environment": list(_changes(run, len(attempts))),
        "stages": _finished_stages(run),
        "problem": _problem(run),
        "evaluations": [_evaluation(one) for one in evaluations_of(run)],
        "suites": sorted(path.parent.name for path in run.path.glob("suites/[!.]*/result.json")),
        "latest": _latest(run),
        "report": str(report) if report.is_file() else None,
    }


def _problem(run: RunDirectory) -> dict[str, str] | None:
    found = run.config_problem()
    return {"message": found.message, "hint": found.hint} if found else None


def _evaluation(found: StoredEvaluation) -> dict[str, Any]:
    """One that `codctl eval --run` has made: what was played of which model, and the success with its own hints."""
    from codctl.runs.eval_result import EvalResult, to_json

    parts = found.result.parts if isinstance(found.result, EvalResult) else ()
    return {
        "id": found.id,
        "suite": found.suite,
        "state": found.state,
        "subject": to_json(found.subject) if found.subject else {},
        "parts": [
            {"name": part.name, "packs": part.packs, "success": means(part.success("own"), part.positions)}
            for part in parts
        ],
        "path": str(found.path),
    }


def _name(run: RunDirectory, runs_dir: Path) -> str:
    inside = run.path.relative_to(runs_dir).parts  # sweeps/<sweep>/trials/<trial>
    return f"{inside[1]}/{inside[3]}" if len(inside) == 4 else run.name


def _entry(seen: RunStatus) -> dict[str, Any]:
    newest, recipe = Latest(), None
    if not is_linked_trial(seen.path):
        newest = latest(seen.path / "metrics.jsonl")
        try:
            recipe = manifest.read(seen.path / "manifest.json")["recipe"]
        except CodctlError as error:
            seen.status, seen.note = "unreadable", error.message
    return {
        "name": seen.name,
        "status": f"unreadable: {seen.note}" if seen.status == "unreadable" else seen.status,
        "phase": newest.phase,
        "step": newest.step,
        "started": seen.record.get("started"),
        "recipe": recipe,
        "path": str(seen.path),
    }


def _latest(run: RunDirectory) -> dict[str, dict[str, Any]]:
    """The last record of each phase, in the order in which they were last written."""
    found: dict[str, dict[str, Any]] = {}
    for record in jsonl.read(run.metrics_path):
        found.pop(record["phase"], None)
        found[record["phase"]] = record
    return found


def _finished_stages(run: RunDirectory) -> list[str]:
    root = run.stages
    sealed = {path.parent for path in root.rglob("COMPLETE.json") if is_sealed(path.parent)} if root.is_dir() else set()
    return sorted(path.relative_to(root).as_posix() for path in sealed)


def _changes(run: RunDirectory, attempts: int) -> Iterator[dict[str, Any]]:
    """What an attempt found other than the one before it."""
    known, before = dict[str, Any](), 0
    for number in range(1, attempts + 1):
        found = _environment(run, number)
        if found and known:
            keys = [key for key in dict.fromkeys([*known, *found]) if known.get(key) != found.get(key)]
            changed = [[key, _text(known.get(key)), _text(found.get(key))] for key in keys]
            if changed:
                yield {"attempt": number, "before": before, "changed": changed}
        if found:
            known, before = found, number


def _environment(run: RunDirectory, number: int) -> dict[str, Any]:
    found = attempt.environment(run.path, number)
    if found is None:
        return {}
    content: dict[str, Any] = {**found}
    inner = {f"{key}.{name}": value for key in _NESTED for name, value in content.pop(key, {}).items()}
    return {"code": attempt.read(run.path, number).get("code"), **content, **inner}


def _text(value: Any) -> str:
    return "absent" if value is None else value if isinstance(value, str) else json.dumps(value)


_NESTED = ("versions", "packages", "variables")
