"""What an evaluation has played so far: one record for each trajectory, kept the moment it is finished."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

from codctl.errors import RefusedError, StageError
from codctl.files import atomic, reader
from codctl.results.rows import Row
from codctl.runs.eval_result import Walkthrough

SCHEMA = 1
_SYNC_EVERY_S = 2.0


class Unit(NamedTuple):
    """One trajectory of an evaluation. `arm` may also name a reference policy."""

    part: str
    arm: str
    seed: int
    pack: int


@dataclass(frozen=True)
class Record:
    """What is kept of a trajectory.

    Attributes:
        unit: Which one.
        pack_id: Id of its pack.
        rows: One for each position.
        hints: In force at each position, for the arm `shuffled`.
        walkthrough: The whole of it for a reader; only of the packs that a walkthrough may be chosen from.
        transcript: All that was said, packed (`codctl.results.transcript`); None for a pack that is not stored.
        again: Whether the engine failed so that another attempt should play it again.
    """

    unit: Unit
    pack_id: str
    rows: tuple[Row, ...]
    hints: tuple[str, ...] | None = None
    walkthrough: Walkthrough | None = None
    again: bool = False
    transcript: str | None = None


class Journal(Protocol):
    """Records by unit; a later record of the same unit replaces the earlier one."""

    def append(self, record: Record) -> None: ...

    def get(self, unit: Unit) -> Record | None: ...

    def is_done(self, unit: Unit) -> bool:
        """Whether the unit was played and need not be played again."""

    def sync(self) -> None:
        """Make what was appended durable."""


class MemoryJournal:
    """For evaluations that are all or nothing."""

    def __init__(self) -> None:
        self._records: dict[Unit, Record] = {}

    def append(self, record: Record) -> None:
        self._records[record.unit] = record

    def get(self, unit: Unit) -> Record | None:
        return self._records.get(unit)

    def is_done(self, unit: Unit) -> bool:
        return unit in self._records

    def sync(self) -> None: ...


class FileJournal:
    """One JSON object a line, appended whole; only places and lengths stay in memory.

    A crash can tear the last line at most; it is cut off, and its trajectory is played again.

    Args:
        path: The file; begun with a header when it is not there.
        digest: Of subject and suite. A journal of another one is refused.

    Raises:
        RefusedError: The journal belongs to something else.
        StageError: It is damaged, or cannot be written.
    """

    def __init__(self, path: Path, digest: str) -> None:
        self.path = path
        self.sessions: list[dict[str, Any]] = []
        self._places: dict[Unit, tuple[int, int, bool]] = {}
        self._synced_s = time.monotonic()
        with atomic.storage_errors(path):
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            self._end = self._load(digest)
            os.ftruncate(self._descriptor, self._end)
            if not self._end:
                self._write({"schema": SCHEMA, "digest": digest})
        except BaseException:
            os.close(self._descriptor)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.sync()
        finally:
            os.close(self._descriptor)

    def append(self, record: Record) -> None:
        body = reader.adapter(Record).dump_python(record, mode="json")
        place = self._end
        self._places[record.unit] = (place, self._write(body), record.again)

    def end_session(self, session: dict[str, Any]) -> None:
        """Note what a session of playing took: seconds, tokens, cost."""
        self.sessions.append(session)
        self._write({"session": session})

    def get(self, unit: Unit) -> Record | None:
        if unit not in self._places:
            return None
        place, length, _ = self._places[unit]
        try:
            return reader.check_json(os.pread(self._descriptor, length, place), Record)
        except reader.UnfitError as error:
            raise StageError(
                f"its record of {unit} is damaged: {error}", where=str(self.path), hint="--fresh starts over"
            ) from error

    def is_done(self, unit: Unit) -> bool:
        return unit in self._places and not self._places[unit][2]

    @property
    def to_play_again(self) -> int:
        """How many trajectories a later attempt plays again."""
        return sum(again for _, _, again in self._places.values())

    def sync(self) -> None:
        with atomic.storage_errors(self.path):
            os.fsync(self._descriptor)

    def _load(self, digest: str) -> int:
        """Index the whole lines and return where they end."""
        end = 0
        for number, line in enumerate(self._lines(), start=1):
            try:
                body = reader.parse(line)
                if number == 1:
                    self._check_header(body, digest)
                elif "session" in body:
                    self.sessions.append(body["session"])
                else:
                    self._places[Unit(*body["unit"])] = (end, len(line), bool(body["again"]))
            except (ValueError, KeyError, TypeError) as error:
                raise StageError(
                    f"line {number} is damaged: {error!r}", where=str(self.path), hint="--fresh starts over"
                ) from error
            end += len(line)
        return end

    def _lines(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            yield from (line for line in file if line.endswith(b"\n"))

    def _check_header(self, header: dict[str, Any], digest: str) -> None:
        if (header["schema"], header["digest"]) != (SCHEMA, digest):
            raise RefusedError(
                "the journal belongs to another model or suite", where=str(self.path), hint="--fresh starts over"
            )

    def _write(self, body: dict[str, Any]) -> int:
        line = (json.dumps(atomic.without_nan(body), allow_nan=False) + "\n").encode()
        with atomic.storage_errors(self.path):
            view = memoryview(line)
            while view:
                written = os.pwrite(self._descriptor, view, self._end + len(line) - len(view))
                view = view[written:]
            self._end += len(line)
            if time.monotonic() - self._synced_s > _SYNC_EVERY_S:
                os.fsync(self._descriptor)
                self._synced_s = time.monotonic()
        return len(line)
