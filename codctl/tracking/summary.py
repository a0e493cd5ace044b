"""How runs stand, read from their files alone."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from codctl.errors import CodctlError
from codctl.runs.directory import RunDirectory, list_runs
from codctl.runs.seal import is_sealed
from codctl.tracking import jsonl


def summarize_all(runs_dir: Path) -> list[dict[str, Any]]:
    """One entry for each run; a damaged one is listed with what is wrong."""
    return [_summarize(run) for run in list_runs(runs_dir)]


def describe(run: RunDirectory) -> dict[str, Any]:
    """All that is known about a run without loading anything heavy."""
    manifest = run.manifest()
    report = run.path / "report.html"
    return {
        "name": run.name,
        "path": str(run.path),
        "status": run.status(),
        "recipe": manifest["recipe"],
        "command": shlex.join(manifest["command"]),
        "created": manifest["created"],
        "digest": manifest["digest"],
        "machine": manifest["machine"],
        "attempts": manifest["attempts"],
        "stages": _finished_stages(run),
        "latest": _latest(run),
        "report": str(report) if report.is_file() else None,
    }


def _summarize(run: RunDirectory) -> dict[str, Any]:
    try:
        manifest, latest = run.manifest(), _latest(run)
        attempts = manifest["attempts"]
        phase = next(reversed(latest), None)
        return {
            "name": run.name,
            "status": run.status(),
            "phase": phase,
            "step": latest[phase]["step"] if phase else None,
            "started": attempts[-1]["started"] if attempts else None,
            "recipe": manifest["recipe"],
            "path": str(run.path),
        }
    except (CodctlError, KeyError, TypeError) as error:
        reason = error.message if isinstance(error, CodctlError) else "its manifest lacks entries"
        return {
            "name": run.name,
            "status": f"unreadable: {reason}",
            "phase": None,
            "step": None,
            "started": None,
            "recipe": None,
            "path": str(run.path),
        }


def _latest(run: RunDirectory) -> dict[str, dict[str, Any]]:
    """The last record of each phase, in the order in which they were last written."""
    latest: dict[str, dict[str, Any]] = {}
    for record in jsonl.read(run.metrics_path):
        latest.pop(record["phase"], None)
        latest[record["phase"]] = record
    return latest


def _finished_stages(run: RunDirectory) -> list[str]:
    root = run.path / "stages"
    sealed = {path.parent for path in root.rglob("COMPLETE.json") if is_sealed(path.parent)} if root.is_dir() else set()
    return sorted(path.relative_to(root).as_posix() for path in sealed)
