"""The files of a finished suite: rows, trajectories, report.html, and result.json, which is written last."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codctl.config.evalspec import EvalSpec
from codctl.errors import UsageError
from codctl.files.atomic import write_bytes, write_json, write_text
from codctl.report.suite_page import render
from codctl.results import replies, trajectory_file
from codctl.results.journal import FileJournal
from codctl.results.summary import summarise
from codctl.runs import result_file

_RESULT = "result.json"
_COLUMNS = {
    "part": "string",
    "arm": "string",
    "seed": "int64",
    "pack": "string",
    "number": "int64",
    "position": "int64",
    "foreign": "bool",
    "success": "float64",
    "shaped_reward": "float64",
    "turns": "int64",
    "hint_right": "int64",
    "hint_wrong": "int64",
    "hint_missing": "int64",
    "hint_knowable": "int64",
    "hint_knowable_right": "int64",
    "format_error": "bool",
    "failed": "string",
    "outcome": "string",
    "update_outcome": "string",
    "replies": "int64",
    "words": "string",
    "update_words": "string",
}


def finished(folder: Path, digest: str, *, allow_failed: bool = False) -> dict[str, Any] | None:
    """The stored result; None when there is none, or when the same command would still play something again."""
    try:
        result = result_file.read(folder / _RESULT)
    except UsageError:
        return None  # it is written again from the journal
    if result is None or result.get("digest") != digest or (result.get("to_play_again") and not allow_failed):
        return None
    return result


def write_result(folder: Path, head: Mapping[str, Any], parts: Sequence[EvalSpec], journal: FileJournal) -> None:
    """Sum up the journal and write all files. Killed in between, the next attempt finds no result and writes again."""
    (folder / _RESULT).unlink(missing_ok=True)
    results, told, rows = [], {}, _Rows()
    for part in parts:
        found = summarise(part, journal)
        results.append(found.result)
        told[part.name] = found.walkthrough
        rows.add(part.name, [*found.rows, *found.reference_rows])
    result = {
        **head,
        **(results[0] if len(results) == 1 else {}),  # as scripts that know one evaluation expect it
        **_took(journal.sessions),
        "failed_episodes": sum(one["failed_episodes"] for one in results),
        "replies": replies.total(one["replies"] for one in results),
        "to_play_again": journal.to_play_again,
        "parts": results,
    }
    write_bytes(folder / "rows.parquet", rows.close())
    trajectory_file.write(folder / trajectory_file.NAME, trajectory_file.of_parts(parts, journal))
    write_text(folder / "report.html", render(result, told))
    write_json(folder / _RESULT, result)


class _Rows:
    """Rows as parquet, part by part, so that those of one part are all that memory holds as Python objects."""

    def __init__(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._arrow = pa
        self._schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in _COLUMNS.items()])
        self._buffer = io.BytesIO()
        self._writer = pq.ParquetWriter(self._buffer, self._schema, compression="zstd")

    def add(self, part: str, rows: Sequence[Mapping[str, Any]]) -> None:
        table = self._arrow.Table.from_pylist([{"part": part, **row} for row in rows], schema=self._schema)
        self._writer.write_table(table)

    def close(self) -> bytes:
        self._writer.close()
        return self._buffer.getvalue()


def _took(sessions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Seconds and usage over all attempts; an attempt that was killed could not say what it used."""
    usage: dict[str, Any] = {}
    for session in sessions:
        for key, value in session["usage"].items():
            known = usage.get(key)
            usage[key] = value if known is None else known if value is None else known + value
    if "notes" in usage:
        usage["notes"] = list(dict.fromkeys(usage["notes"]))
    return {
        "seconds": round(sum(session["seconds"] for session in sessions), 3),
        "attempts": len(sessions),
        **({"usage": usage} if usage else {}),
    }
