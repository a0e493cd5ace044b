"""What was measured at which commit, on which machine: results/MACHINE-COMMIT.json beside this file."""

from __future__ import annotations

import json
import re
import statistics
import subprocess
from pathlib import Path
from typing import Any

from machine import ROOT, markdown

FOLDER = Path(__file__).resolve().parent / "results"


def state() -> str:
    """Commit that is checked out and its date; empty if the code has changes that are in no commit."""
    if _git("status", "--porcelain", "--untracked-files=no", "--", "codctl", "recipes"):
        return ""
    return _git("show", "-s", "--format=%h %cs", "HEAD")


def keep(found: dict[str, Any], before: str) -> str:
    """Write what was measured, if it is that of one commit. What was done, as a sentence.

    Args:
        found: Figures.
        before: The `state` when they were begun.
    """
    if not before or state() != before:
        return "Not kept: this checkout has, or had, changes that are in no commit, or another commit by now."
    commit, date = before.split()
    name = re.sub(r"[^a-z0-9]+", "-", found["machine"].partition(", load")[0].lower()).strip("-")
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}-{commit}.json"
    record = {"schema": 1, "commit": commit, "date": date, **found}
    path.write_text(json.dumps(_rounded(record), indent=1, ensure_ascii=False) + "\n")
    return f"Kept in {path.relative_to(ROOT)}."


def table() -> str:
    """All that is kept, the oldest commit first: how many times its bound each workload took."""
    kept = sorted((json.loads(path.read_text()) for path in FOLDER.glob("*.json")), key=lambda one: one["date"])
    if not kept:
        return "nothing is kept yet"
    names = list(dict.fromkeys(one["name"] for record in kept for one in record["own"]))
    rows = []
    for record in kept:
        times = {one["name"]: statistics.median(one["seconds"]) / one["bound_s"] for one in record["own"]}
        cells = [f"{times[name]:.1f}" if name in times else "" for name in names]
        rows.append([record["commit"], record["date"], record["machine"].partition(", load")[0], *cells])
    return markdown(["commit", "date", "machine", *names], rows)


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _rounded(value: Any) -> Any:
    """With four digits: more are noise."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value
