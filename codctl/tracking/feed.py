"""The way of one run or sweep to one tracker. It may be cut off anywhere, and done again: nothing is doubled."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from codctl.errors import BackendError
from codctl.runs.directory import RunDirectory
from codctl.tracking import contents, sinks
from codctl.tracking.points import PointsReader
from codctl.tracking.sink import Artifact, Evaluation, Point, Status, Subject
from codctl.tracking.state import State, load, load_or_begin

if TYPE_CHECKING:
    from codctl.config.schema import TrackingConfig

_POINTS_PER_CALL = 1000
_SAVE_EVERY_S = 5.0
_EVALUATIONS_EVERY_S = 30.0  # all of the runs folder are looked through


@dataclass
class Sent:
    """What was sent."""

    points: int = 0
    evaluations: int = 0
    files: int = 0
    status: str = ""

    def __bool__(self) -> bool:
        return self != Sent()


class Feed:
    """Sends a run to a tracker. No other process may do so at the same time (`state.sending`).

    Args:
        run: The run.
        tracker: Its name.
        check: Called before each call of the tracker; raises to give up. May be replaced.
        sweep: With this, a sweep's folder, its own entry is sent instead; `run` is one of its trials.
    """

    def __init__(
        self,
        run: RunDirectory,
        tracker: str,
        check: Callable[[], object] = lambda: None,
        sweep: Path | None = None,
    ) -> None:
        self.sent = Sent()
        self._run, self._tracker, self.check, self._sweep = run, tracker, check, sweep
        self._folder = sweep or run.path
        self._state = load(self._folder, run.root, tracker) or State(self._folder, run.root, tracker)
        self._reader = PointsReader(run.metrics_path, contents.milliseconds(run.manifest()["created"]))
        self._waiting: list[Point] = []
        self._saved_s, self._looked_s = time.monotonic(), -_EVALUATIONS_EVERY_S

    @property
    def address(self) -> str:
        """What is contacted; empty when all stays in the runs folder."""
        if "uri" in self._state.memory:
            return self._state.memory["uri"] or ""
        return sinks.open_sink(self._tracker, tracking_of(self._run)).address() or ""

    def is_complete(self, status: str) -> bool:
        """Whether all was sent, as far as codctl remembers; the tracker is not asked."""
        if self._state.was_moved or self._state.status != status:
            return False
        self._read(at_end=True)
        return not (self._waiting or self._new_evaluations() or self._new_files())

    def attach(self, *, thorough: bool = False) -> None:
        """Find or begin the run there.

        Args:
            thorough: Forget which evaluations and which status were sent.
        """
        sink, state = sinks.open_sink(self._tracker, tracking_of(self._run)), self._state
        if state.is_new:
            state.save()
        self.check()
        steps = sink.attach(Subject("sweep", state) if self._sweep else _subject(self._run, state))
        if not (steps or self._sweep):
            state.forget()
        elif thorough:
            state.evaluations, state.status = {}, ""
        state.steps = dict(steps)
        self._reader.close()  # what it has read is looked at again: less may have arrived than codctl remembers
        self._waiting = []
        self._sink, state.is_new = sink, False
        state.save()

    def status(self, status: Status) -> None:
        """How the run stands."""
        if self._state.status != status:
            self.check()
            self._sink.status(status)
            self._state.status = self.sent.status = status
            if status == "running":  # of the others all has to have arrived
                self._state.save()

    def numbers(self, *, at_end: bool = False) -> None:
        """Points and evaluations that were not sent yet.

        Args:
            at_end: The run has ended: also the newest point of each phase.
        """
        state = self._state
        self._read(at_end=at_end)
        while self._waiting:
            batch = self._waiting[:_POINTS_PER_CALL]
            self.check()
            self._sink.log(batch)
            state.steps |= {point.key: point.step for point in batch}
            self._waiting = self._waiting[_POINTS_PER_CALL:]
            self.sent.points += len(batch)
            self._save_now_and_then()
        if not at_end and time.monotonic() < self._looked_s + _EVALUATIONS_EVERY_S:
            return
        self._looked_s = time.monotonic()
        for evaluation in self._new_evaluations():
            self.check()
            self._sink.evaluation(evaluation)
            state.evaluations[evaluation.place] = evaluation.stamp
            for path in evaluation.files:
                state.files.pop(self._name(path), None)
            self.sent.evaluations += 1
            self._save_now_and_then()

    def everything(self, status: Status) -> None:
        """All that is missing. Files come last: a store that takes none costs only them.

        That it is complete is remembered when all has arrived.
        """
        self.numbers(at_end=True)
        self._state.save()
        self.status(status)
        for artifact in self._new_files():
            self.check()
            self._sink.artifact(artifact)
            self._state.files[self._name(artifact.path)] = _stamp(artifact)
            self.sent.files += 1
        self.check()
        self._sink.close()
        self._state.save()

    def close(self) -> None:
        """Read no more."""
        self._reader.close()

    def _read(self, *, at_end: bool) -> None:
        if not self._sweep:
            found = [*self._reader.new(), *(self._reader.newest() if at_end else [])]
            known = {(point.key, point.step) for point in self._waiting}
            new = [point for point in found if (point.key, point.step) not in known]
            self._waiting += [point for point in new if point.step > self._state.steps.get(point.key, -1)]

    def _new_evaluations(self) -> list[Evaluation]:
        found = [] if self._sweep else contents.evaluations(self._run)
        return [one for one in found if self._state.evaluations.get(one.place) != one.stamp]

    def _new_files(self) -> list[Artifact]:
        found = contents.files_of_sweep(self._sweep) if self._sweep else contents.files(self._run)
        return [file for file in found if self._state.files.get(self._name(file.path)) != _stamp(file)]

    def _name(self, path: Path) -> str:
        return Path(os.path.relpath(path, self._folder)).as_posix()

    def _save_now_and_then(self) -> None:
        if time.monotonic() > self._saved_s + _SAVE_EVERY_S:
            self._state.save()
            self._saved_s = time.monotonic()


def tracking_of(run: RunDirectory) -> TrackingConfig:
    """The part of a run's config that says where its numbers go."""
    from codctl.config.schema import TrackingConfig

    try:
        return TrackingConfig.model_validate(run.frozen()["config"].get("tracking", {}))
    except ValueError as error:
        raise BackendError(f"its tracking settings cannot be read: {error}", where=str(run.path)) from error


def _subject(run: RunDirectory, state: State) -> Subject:
    ended = [contents.milliseconds(attempt["ended"]) for attempt in run.attempts() if attempt["ended"]]
    sweep = run.sweep
    return Subject(
        "run",
        state,
        settings=contents.settings(run),
        about=contents.about(run),
        created_ms=contents.milliseconds(run.manifest()["created"]),
        ended_ms=ended[-1] if ended else None,
        sweep=Subject("sweep", load_or_begin(sweep, run.root, state.tracker)) if sweep else None,
    )


def _stamp(artifact: Artifact) -> str:
    if artifact.text is not None:
        return contents.digest(artifact.text.encode())
    stat = artifact.path.stat()
    return f"{stat.st_size}-{stat.st_mtime_ns}"
