"""The files of an evaluation: rows, trajectories, a walkthrough, a page, and result.json; then they are sealed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codctl.cod.references import families_of
from codctl.config.evalspec import EvalSpec
from codctl.errors import UsageError
from codctl.files.atomic import write_bytes, write_text
from codctl.files.seal import is_sealed, seal_in_place
from codctl.report.suite_page import render
from codctl.results import replies, trajectory_file
from codctl.results.journal import FileJournal
from codctl.results.rows import ROWS, RowsWriter
from codctl.results.summary import summarise
from codctl.runs import eval_result
from codctl.runs.eval_result import HEAD, RESULT, WALKTHROUGHS, EvalResult, Head, Usage
from codctl.runs.evaluations import JOURNAL

PAGE = "report.html"
_SEALED = (HEAD, JOURNAL, ROWS, trajectory_file.NAME, WALKTHROUGHS, PAGE, RESULT)


def finished(folder: Path, digest: str, *, allow_failed: bool = False) -> EvalResult | None:
    """The sealed result; None when there is none, or when the same command would still play something again."""
    if not is_sealed(folder):
        return None
    try:
        result = eval_result.read(folder / RESULT)
    except UsageError:
        return None  # it is written again from the journal
    if not isinstance(result, EvalResult) or result.digest != digest or (result.to_play_again and not allow_failed):
        return None
    return result


def write_result(
    folder: Path, head: Head, parts: Sequence[EvalSpec], journal: FileJournal, info: Mapping[str, Any]
) -> None:
    """Sum up the journal, write all files and seal them. Killed in between, the next attempt writes them again."""
    (folder / RESULT).unlink(missing_ok=True)
    by_agent = head.subject.agent is not None
    results, walkthroughs, rows = [], {}, RowsWriter(by_agent=by_agent)
    for part in parts:
        found = summarise(part, journal)
        results.append(found.result)
        if found.walkthrough:
            walkthroughs[part.name] = found.walkthrough
        rows.add(part.name, [*found.rows, *found.reference_rows])
    seconds, attempts, usage = _took(journal.sessions)
    result = EvalResult(
        **vars(head),
        seconds=seconds,
        attempts=attempts,
        usage=usage,
        failed_episodes=sum(one.failed_episodes for one in results),
        replies=replies.total(one.replies for one in results),
        to_play_again=journal.to_play_again,
        parts=tuple(results),
    )
    write_bytes(folder / ROWS, rows.close())
    graded = any(family.graded for part in parts for family in families_of(part))
    told = trajectory_file.of_parts(parts, journal)
    trajectory_file.write(folder / trajectory_file.NAME, told, graded=graded, by_agent=by_agent)
    eval_result.write(folder / WALKTHROUGHS, walkthroughs)
    write_text(folder / PAGE, render(result, walkthroughs, folder))
    eval_result.write(folder / RESULT, result)
    journal.sync()
    seal_in_place(folder, _SEALED, info)


def _took(sessions: Sequence[Mapping[str, Any]]) -> tuple[float, int, Usage | None]:
    """Seconds, attempts and usage over all of them; an attempt that was killed could not say what it used."""
    used: dict[str, Any] = {}
    for session in sessions:
        for key, value in session["usage"].items():
            known = used.get(key)
            used[key] = value if known is None else known if value is None else known + value
    if "notes" in used:
        used["notes"] = list(dict.fromkeys(used["notes"]))
    seconds = round(sum(session["seconds"] for session in sessions), 3)
    return seconds, len(sessions), eval_result.of(Usage, used) if used else None
