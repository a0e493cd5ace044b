"""Stage: stored evaluations side by side, as numbers and as one page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from codctl import __version__
from codctl.errors import UsageError
from codctl.files.atomic import storage_errors, write_text
from codctl.report.comparison_page import render
from codctl.results.comparison import Compared, ComparedModel, Comparison, Table, compare
from codctl.results.rows import read_rows
from codctl.runs.eval_result import EvalResult, PartResult
from codctl.runs.evaluations import EVALUATIONS, StoredEvaluation
from codctl.seeds import text_digest

_COLUMNS = ("arm", "number", "pack", "position")


def compare_stored(
    found: Sequence[StoredEvaluation], runs_dir: Path, command: Sequence[str], out: Path | None = None
) -> Comparison:
    """Compare evaluations on the packs that all have, and write the page.

    Args:
        found: Two or more; the others are compared with the first.
        runs_dir: The runs folder, where the page goes by default.
        command: As typed.
        out: Where the page goes instead.

    Raises:
        UsageError: One has no result, or nothing is common.
    """
    results = [_result(one) for one in found]
    parts = compare([_compared(one, result) for one, result in zip(found, results, strict=True)])
    models = tuple(
        ComparedModel(result.subject.title, result.subject, result.suite, str(one.path))
        for one, result in zip(found, results, strict=True)
    )
    page = out or runs_dir / EVALUATIONS / f"compare-{_digest(found)}.html"
    comparison = Comparison(models, parts, str(page), tuple(command), __version__)
    with storage_errors(page):
        page.parent.mkdir(parents=True, exist_ok=True)
    write_text(page, render(comparison))
    return comparison


def _result(one: StoredEvaluation) -> EvalResult:
    if one.is_curve:
        hint = "compare the evaluations of its checkpoints: codctl evals list"
        raise UsageError(f"{one.name} sums up several models", hint=hint)
    if not isinstance(one.result, EvalResult):
        raise UsageError(f"{one.name} has no result yet", where=str(one.path), hint="play it to the end first")
    return one.result


def _compared(one: StoredEvaluation, result: EvalResult) -> Compared:
    found: dict[str, dict[tuple[str, str], Table]] = {"success": {}, "raw_reward": {}}
    for part in result.parts:
        for measure in ("success", "raw_reward") if part.graded else ("success",):
            tables = _tables(one.path, part, measure)
            found[measure] |= {(part.name, arm): table for arm, table in tables.items()}
    return Compared(one.name, result.parts, found["success"], found["raw_reward"])


def _tables(folder: Path, part: PartResult, measure: str) -> dict[str, Table]:
    """One measure of each pack of a part, by arm."""
    found: dict[str, Table] = {}
    names = (*_COLUMNS, measure)
    columns = read_rows(folder, part.name, names).to_pydict()
    for arm, number, pack, position, value in zip(*(columns[name] for name in names), strict=True):
        if value is not None:
            found.setdefault(arm, {}).setdefault((number, pack), {}).setdefault(position, []).append(value)
    return found


def _digest(found: Sequence[StoredEvaluation]) -> str:
    return text_digest(" ".join(one.name for one in found))[:8]
