"""What of a wave is played and not learned yet, kept the moment it is finished: a killed run need not play it again.

One file for each wave, one JSON object a line. A kill can tear the last line at most: that trajectory is played again.
"""

from __future__ import annotations

import base64
import json
import os
from dataclasses import MISSING, Field, asdict, dataclass, fields, make_dataclass
from functools import cache
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, get_type_hints

import numpy as np

from codctl.cod.context import Revision
from codctl.cod.engine import EngineStats
from codctl.cod.trajectory import DTYPES, EpisodeRecord, Trajectory
from codctl.files import atomic, reader
from codctl.train.schedule import Wave

_SCHEMA = 1


class Unit(NamedTuple):
    """One trajectory of a wave."""

    step: int
    pack: str
    rollout: int


@dataclass(frozen=True)
class Kept:
    """A trajectory, and its share of the seconds of the wave."""

    trajectory: Trajectory
    seconds: float


class WaveStore:
    """The files of all waves that are not learned yet.

    Args:
        folder: Theirs.
        digest: Of the recipe; what was played with another one is not taken.
    """

    def __init__(self, folder: Path, digest: str) -> None:
        self._folder, self._digest = folder, digest

    def open(self, wave: Wave, *, keep: bool = True) -> WaveFile:
        """The file of a wave, there or not.

        Args:
            wave: The wave.
            keep: Without, everything stays in memory.

        Raises:
            StageError: It cannot be written.
        """
        if not keep:
            return WaveFile(None, {})
        atomic.make_folder(self._folder)
        name = f"{wave.version:06d}-{wave.first:06d}-{wave.last:06d}.jsonl"
        return WaveFile(self._folder / name, {"schema": _SCHEMA, "digest": self._digest, "version": wave.version})

    def forget(self, learned: int) -> None:
        """Delete the files of waves that a checkpoint has learned to the end."""
        for path in self._folder.glob("*-*-*.jsonl"):
            last = path.stem.rpartition("-")[2]
            if last.isdecimal() and int(last) <= learned:
                path.unlink(missing_ok=True)
        if self._folder.is_dir() and not any(self._folder.iterdir()):
            self._folder.rmdir()


class WaveFile:
    """The trajectories of one wave so far.

    Attributes:
        kept: By what they are.
        stats: Of each step that is complete: work of the engine on the wave until then.
    """

    def __init__(self, path: Path | None, header: dict[str, Any]) -> None:
        self._path, self._header = path, header
        self.kept: dict[Unit, Kept] = {}
        self.stats: dict[int, EngineStats] = {}
        self._end = 0
        self._file: FileIO | None = None
        if path is None:
            return
        with atomic.storage_errors(path):
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            self._file = FileIO(os.open(path, flags, 0o666), "r+")
            self._end = self._load(path)
        self._cut()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None and self._path is not None:
            with self._file, atomic.storage_errors(self._path):
                os.fsync(self._file.fileno())

    def add(self, step: int, trajectory: Trajectory, seconds: float) -> None:
        """Keep a finished trajectory, unless the engine failed in it: then another attempt plays it again."""
        self.kept[Unit(step, trajectory.pack, trajectory.rollout)] = Kept(trajectory, seconds)
        if not any(episode.failed for episode in trajectory.episodes):
            self._write({"step": step, "seconds": seconds, "trajectory": asdict(trajectory)})

    def finish(self, step: int, stats: EngineStats) -> None:
        """A step is complete."""
        self.stats[step] = stats
        self._write({"step": step, "stats": asdict(stats)})

    def clear(self) -> None:
        """Begin again with nothing."""
        self.kept, self.stats, self._end = {}, {}, 0
        self._cut()

    def _cut(self) -> None:
        """Let the file end where what can be used ends."""
        if self._file is not None:
            self._file.truncate(self._end)
            if not self._end:
                self._write(self._header)

    def _load(self, path: Path) -> int:
        """Take what can be used; where that ends."""
        end = 0
        for number, line in enumerate(reader.lines(path)):
            try:
                if number:
                    self._take(line)
                elif reader.parse(line) != self._header:
                    return 0
            except ValueError:
                break
            if not line.endswith(b"\n"):
                break
            end += len(line)
        return end

    def _take(self, line: bytes) -> None:
        if b'"stats"' in line[:40]:
            finished = reader.check_json(line, _Finished)
            self.stats[finished.step] = finished.stats
            return
        found: Any = reader.check_json(line, _played_type())
        episodes = tuple(_episode(one) for one in found.trajectory.episodes)
        trajectory = Trajectory(found.trajectory.pack, found.trajectory.rollout, episodes, found.trajectory.revisions)
        self.kept[Unit(found.step, trajectory.pack, trajectory.rollout)] = Kept(trajectory, found.seconds)

    def _write(self, body: dict[str, Any]) -> None:
        if self._file is None or self._path is None:
            return
        line = (json.dumps(body, default=_encoded) + "\n").encode()
        with atomic.storage_errors(self._path):
            view = memoryview(line)
            while view:
                view = view[os.pwrite(self._file.fileno(), view, self._end + len(line) - len(view)) :]
        self._end += len(line)


@dataclass(frozen=True)
class _Finished:
    step: int
    stats: EngineStats


@cache
def _played_type() -> type:
    """The type of a line, whose token arrays are base64: the fields of an episode, with text in place of arrays."""
    hints = get_type_hints(EpisodeRecord)
    required = [one.name for one in fields(EpisodeRecord) if one.default is MISSING and one.name not in DTYPES]
    others = [(one.name, hints[one.name], _default(one)) for one in fields(EpisodeRecord) if one.default is not MISSING]
    arrays = [(name, str) for name in DTYPES]
    episode: Any = make_dataclass("_Episode", [*arrays, *((name, hints[name]) for name in required), *others])
    trajectory: Any = make_dataclass(
        "_Trajectory",
        [("pack", str), ("rollout", int), ("episodes", tuple[episode, ...]), ("revisions", tuple[Revision, ...])],
    )
    return make_dataclass("_Played", [("step", int), ("seconds", float), ("trajectory", trajectory)])


def _default(one: Field[Any]) -> Any:
    return one.default


def _encoded(array: Any) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def _episode(stored: Any) -> EpisodeRecord:
    """An episode as it was kept; ValueError when its arrays do not fit together."""
    values = {one.name: getattr(stored, one.name) for one in fields(EpisodeRecord)}
    arrays: dict[str, Any] = {
        name: np.frombuffer(base64.b64decode(values[name]), dtype).copy() for name, dtype in DTYPES.items()
    }
    ends = list(values["turn_ends"])
    if len({len(array) for array in arrays.values()}) != 1 or ends != sorted(ends):
        raise ValueError("the arrays of an episode do not fit together")
    return EpisodeRecord(**{**values, **arrays, "turn_ends": ends})
