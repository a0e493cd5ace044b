"""The numbers of a run as trackers get them.

They get what a chart can show: of each phase the first 100 records, every second one of the next 100, every fourth of
the next 200, and so on; and the newest, once the run has ended. metrics.jsonl keeps every record.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from codctl.files import reader
from codctl.tracking import jsonl
from codctl.tracking.sink import Point

EVERY_RECORD_UP_TO = 100
_LATEST_MS = 2**53


class PointsReader:
    """Reads a metrics log as it grows.

    Args:
        path: metrics.jsonl.
        created_ms: Time of records that have none.
    """

    def __init__(self, path: Path, created_ms: int = 0) -> None:
        self._path, self._created_ms = path, created_ms
        self._file: BinaryIO | None = None
        self._counts: Counter[str] = Counter()
        self._newest: dict[str, Mapping[str, Any]] = {}

    def new(self) -> list[Point]:
        """Points of the records since the last call, thinned out; of all records after a rewind."""
        if not self._is_same_file() and not self._open():
            return []
        assert self._file is not None
        start = self._file.tell()
        whole, newline, _ = self._file.read().rpartition(b"\n")  # the last line may still be on its way
        self._file.seek(start + len(whole) + len(newline))
        records = (jsonl.parse(line) for line in whole.splitlines())
        return self._points(record for record in records if record is not None and self._is_kept(record))

    def newest(self) -> list[Point]:
        """Points of the last record of each phase, where they are not among the others."""
        return self._points(self._newest.values())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _is_kept(self, record: Mapping[str, Any]) -> bool:
        phase = record["phase"]
        self._counts[phase] += 1
        if self._counts[phase] % stride(self._counts[phase]) == 0:
            self._newest.pop(phase, None)
            return True
        self._newest[phase] = record
        return False

    def _is_same_file(self) -> bool:
        # While it is open its inode cannot be given to another file.
        try:
            return self._file is not None and os.path.samestat(os.fstat(self._file.fileno()), self._path.stat())
        except FileNotFoundError:
            return False

    def _open(self) -> bool:
        """Begin at the start, as after a rewind."""
        self.close()
        self._counts.clear()
        self._newest.clear()
        try:
            self._file = reader.open_file(self._path)
        except (FileNotFoundError, reader.UnfitError):
            return False
        return True

    def _points(self, records: Iterable[Mapping[str, Any]]) -> list[Point]:
        return [
            Point(key, record["step"], value, _at_ms(record, self._created_ms))
            for record in records
            for key, value in flat(record).items()
        ]


def stride(number: int) -> int:
    """Of how many records around the one with this number, counted from 1, a tracker gets one."""
    return 1 << ((number - 1) // EVERY_RECORD_UP_TO).bit_length()


def flat(record: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a record with the phase in front; nulls (not finite) are left out."""
    values = {**record.get("metrics", {}), **record.get("timing", {})}
    return {f"{record['phase']}/{name}": float(value) for name, value in values.items() if value is not None}


def _at_ms(record: Mapping[str, Any], otherwise: int) -> int:
    found = record.get("at_ms", otherwise)
    return found if isinstance(found, int) and 0 <= found <= _LATEST_MS else otherwise
