"""The metrics of a run on disk: one JSON object a line. This file is the truth, trackers get copies."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codctl.files import atomic, reader

_SUCCESS = re.compile(r"success/position_([0-9]{1,4})")
_BLOCK = 16_384
_MOST = 256 * 1024  # a validation that lies further back is not looked for


class MetricsLog:
    """Append-only log that a crash can tear only in its last line.

    A record is {step, phase, at_ms, metrics, timing}; `at_ms` is wall time, for trackers, and decides nothing.

    Args:
        path: The file; created with the first record.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(
        self, step: int, phase: str, metrics: Mapping[str, float], timing: Mapping[str, float] | None = None
    ) -> None:
        """Write one record and make it durable.

        Raises:
            StageError: Disk full, no permission and the like.
        """
        at_ms = time.time_ns() // 1_000_000
        record = {"step": step, "phase": phase, "at_ms": at_ms, "metrics": dict(metrics), "timing": dict(timing or {})}
        line = json.dumps(atomic.without_nan(record), allow_nan=False) + "\n"
        with atomic.storage_errors(self.path):
            _append(self.path, line.encode())

    def rewind(self, phase: str, step: int) -> None:
        """Drop the records of `phase` with a later step, and a torn last line: what a resumed run writes again."""
        if self.path.exists():
            kept = [record for record in self.read() if record["phase"] != phase or record["step"] <= step]
            atomic.write_text(self.path, "".join(json.dumps(record) + "\n" for record in kept))

    def read(self) -> list[dict[str, Any]]:
        return read(self.path)


def _append(path: Path, lines: bytes) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    size = os.fstat(descriptor).st_size
    try:
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            lines = b"\n" + lines  # close a torn line, so that it costs only itself
        view = memoryview(lines)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    except OSError:  # disk full: leave no torn line behind
        os.ftruncate(descriptor, size)
        raise
    finally:
        os.close(descriptor)


def read(path: Path) -> list[dict[str, Any]]:
    """All whole records, in the order written; no file gives none. Torn lines are passed over."""
    return [record for line in reader.lines(path) if (record := parse(line)) is not None]


def parse(line: bytes) -> dict[str, Any] | None:
    """One line as a record; None when it is torn or is none."""
    from codctl.files import records

    try:
        found = reader.parse(line)
        return {**reader.check({"metrics": {}, "timing": {}, **found}, records.Metrics)}
    except (ValueError, TypeError):
        return None


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
            yield from (record for line in reversed(lines[1:]) if (record := parse(line)) is not None)
        if start == 0 and (record := parse(rest)) is not None:
            yield record
