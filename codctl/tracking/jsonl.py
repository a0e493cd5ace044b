"""The metrics of a run on disk: one JSON object a line. This file is the truth, trackers get copies."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codctl.files import atomic, reader


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
