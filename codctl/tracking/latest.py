"""The newest numbers of a run, from the end of its metrics alone: a list of a thousand runs must not read them all."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codctl.files import reader
from codctl.tracking import jsonl

_SUCCESS = re.compile(r"success/position_([0-9]{1,4})")
_BLOCK = 16_384
_MOST = 256 * 1024  # a validation that lies further back is not looked for


@dataclass(frozen=True)
class Latest:
    """What a run measured last.

    Attributes:
        phase: Of its newest record; None when there is none.
        step: Of its newest record.
        success: By position, of the newest validation; without one, of the newest training step.
        measured_in: validation or train.
        measured_at: Step of these.
    """

    phase: str | None = None
    step: int | None = None
    success: tuple[float | None, ...] = ()
    measured_in: str | None = None
    measured_at: int | None = None


def latest(path: Path) -> Latest:
    """Read a metrics file from its end until a validation is found."""
    newest: dict[str, Any] | None = None
    best: dict[str, Any] | None = None
    for record in _backwards(path):
        newest = newest or record
        if _success(record):
            best = best or record
            if record["phase"] == "validation":
                best = record
                break
    if newest is None:
        return Latest()
    if best is None:
        return Latest(newest["phase"], newest["step"])
    return Latest(newest["phase"], newest["step"], _success(best), best["phase"], best["step"])


def _success(record: dict[str, Any]) -> tuple[float | None, ...]:
    """By position; None where nothing was played, but not at the end."""
    found = {int(match[1]): value for name, value in record["metrics"].items() if (match := _SUCCESS.fullmatch(name))}
    known = {place: float(value) for place, value in found.items() if value is not None}
    return tuple(known.get(place) for place in range(max(known, default=-1) + 1))


def _backwards(path: Path) -> Any:
    """Whole records, the last first."""
    try:
        file = reader.open_file(path)
    except (OSError, reader.UnfitError):
        return
    with file:
        start = file.seek(0, os.SEEK_END)
        least, rest = max(0, start - _MOST), b""
        while start > least:
            begin = max(least, start - _BLOCK)
            file.seek(begin)
            lines = (file.read(start - begin) + rest).split(b"\n")
            rest, start = lines[0], begin
            yield from (record for line in reversed(lines[1:]) if (record := jsonl.parse(line)) is not None)
        if start == 0 and (record := jsonl.parse(rest)) is not None:
            yield record
