"""The metrics of a run on disk: one JSON object a line. This file is the truth, every tracker mirrors it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codctl.runs import atomic


class MetricsLog:
    """Append-only log that a crash can tear only in its last line.

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
        record = {"step": step, "phase": phase, "metrics": dict(metrics), "timing": dict(timing or {})}
        line = json.dumps(atomic.without_nan(record), allow_nan=False) + "\n"
        with atomic.storage_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._append(line.encode())

    def rewind(self, phase: str, step: int) -> None:
        """Drop the records of `phase` with a later step, and a torn last line: what a resumed run writes again."""
        if self.path.exists():
            kept = [record for record in self.read() if record["phase"] != phase or record["step"] <= step]
            atomic.write_text(self.path, "".join(json.dumps(record) + "\n" for record in kept))

    def read(self) -> list[dict[str, Any]]:
        return read(self.path)

    def _append(self, line: bytes) -> None:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line  # close a torn line, so that it costs only itself
            view = memoryview(line)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read(path: Path) -> list[dict[str, Any]]:
    """All whole records, in the order written; no file gives none. Torn lines are passed over."""
    if not path.exists():
        return []
    return [record for line in path.read_bytes().splitlines() if (record := _parse(line)) is not None]


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    whole = isinstance(record, dict) and isinstance(record.get("step"), int) and isinstance(record.get("phase"), str)
    return record if whole else None
