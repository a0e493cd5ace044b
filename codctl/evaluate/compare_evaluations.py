"""Stage: stored evaluations side by side, as numbers and as one page."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codctl import __version__
from codctl.errors import UsageError
from codctl.files import reader
from codctl.files.atomic import storage_errors, write_text
from codctl.report.comparison_page import render
from codctl.results.about import subject_title
from codctl.results.comparison import Played, compare
from codctl.runs import result_file
from codctl.runs.evaluations import EVALUATIONS, StoredEvaluation

_COLUMNS = ["part", "arm", "pack", "number", "position", "foreign", "success"]


def compare_stored(
    found: Sequence[StoredEvaluation], runs_dir: Path, command: Sequence[str], out: Path | None = None
) -> dict[str, Any]:
    """Compare evaluations on the packs that all have, and write the page.

    Args:
        found: Two or more; the others are compared with the first.
        runs_dir: The runs folder, where the page goes by default.
        command: As typed.
        out: Where the page goes instead.

    Raises:
        UsageError: One has no result, or nothing is common.
    """
    played = [_played(one) for one in found]
    with result_file.shown(found[0].path.parent):
        parts = compare(played)
    page = out or runs_dir / EVALUATIONS / f"compare-{_digest(found)}.html"
    result = {
        "models": [_model(one) for one in found],
        "parts": parts,
        "report": str(page),
        "command": list(command),
        "codctl_version": __version__,
    }
    with storage_errors(page):
        page.parent.mkdir(parents=True, exist_ok=True)
    write_text(page, render(result))
    return result


def _model(one: StoredEvaluation) -> dict[str, Any]:
    return {
        "title": subject_title(one.subject),
        "subject": one.subject,
        "suite": one.about.get("suite"),
        "evaluation": str(one.path),
    }


def _played(one: StoredEvaluation) -> Played:
    import pyarrow.parquet as pq

    if one.is_curve:
        hint = "compare the evaluations of its checkpoints: codctl evals list"
        raise UsageError(f"{one.name} sums up several models", hint=hint)
    if one.result is None:
        raise UsageError(f"{one.name} has no result yet", where=str(one.path), hint="play it to the end first")
    try:
        with reader.open_file(one.path / "rows.parquet") as file:
            rows = pq.read_table(file, columns=_COLUMNS).to_pylist()
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"its rows cannot be read: {error}", where=str(one.path / "rows.parquet")) from error
    return Played(one.name, subject_title(one.subject), one.result["parts"], rows)


def _digest(found: Sequence[StoredEvaluation]) -> str:
    return hashlib.sha256(" ".join(one.name for one in found).encode()).hexdigest()[:8]
