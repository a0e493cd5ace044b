"""One run's or sweep's way to one tracker. It may be cut off anywhere, and done again: nothing is doubled."""

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
    """Sends a run to a tracker. Nobody else may do so at the same time (`state.sending`).

    Args:
        run: The run.
        tracker: Its name.
        check: Called before each call of the tracker; raises to give up.
    """

    def __init__(self, run: RunDirectory, tracker: str, check: Callable[[], None] = lambda: None) -> None:
        self.sent = Sent()
        self._run, self._tracker, self._check = run, tracker, check
        self._state = load(run.path, run.root, tracker)
        self._reader = PointsReader(run.metrics_path, contents.milliseconds(run.manifest()["created"]))
        self._waiting: list[Point] = []
        self._saved_s = time.monotonic()

    def is_complete(self, status: str) -> bool:
        """Whether all was sent, as far as codctl remembers; the tracker is not asked."""
        state = self._state
        if state is None or state.was_moved or state.status != status:
            return False
        self._read(state, at_end=True)
        return not (self._waiting or self._new_evaluations(state) or self._new_files(state))

    def attach(self, *, thorough: bool = False) -> None:
        """Find or begin the run there.

        Args:
            thorough: Forget which evaluations were sent.
        """
        tracking = tracking_of(self._run)
        sink = sinks.open_sink(self._tracker, tracking)
        self._check()
        state = self._state = load_or_begin(self._run.path, self._run.root, self._tracker)
        steps = sink.attach(_subject_of_run(self._run, state))
        if not steps:
            state.forget()
        elif thorough:
            state.evaluations.clear()
        state.steps = dict(steps)
        self._reader.close()  # what it has read is looked at again: less may have arrived than codctl remembers
        self._waiting = []
        self._sink, state.is_new = sink, False
        state.save()

    def status(self, status: Status) -> None:
        """How the run stands."""
        if self._attached.status != status:
            self._check()
            self._sink.status(status)
            self._attached.status = self.sent.status = status

    def numbers(self, *, at_end: bool = False) -> None:
        """Points and evaluations that were not sent yet.

        Args:
            at_end: The run has ended: also the newest point of each phase.
        """
        state = self._attached
        self._read(state, at_end=at_end)
        while self._waiting:
            batch = self._waiting[:_POINTS_PER_CALL]
            self._check()
            self._sink.log(batch)
            state.steps |= {point.key: point.step for point in batch}
            self._waiting = self._waiting[_POINTS_PER_CALL:]
            self.sent.points += len(batch)
            self._save(state)
        for evaluation in self._new_evaluations(state):
            self._check()
            self._sink.evaluation(evaluation)
            state.evaluations[evaluation.place] = evaluation.stamp
            for path in evaluation.files:
                state.files.pop(self._name(path), None)
            self.sent.evaluations += 1
            self._save(state)

    def everything(self, status: Status) -> None:
        """All that is missing. Files come last: a store that takes none costs only them.

        That it is complete is remembered when all has arrived.
        """
        self.numbers(at_end=True)
        self._attached.save()
        self.status(status)
        for artifact in self._new_files(self._attached):
            self._check()
            self._sink.artifact(artifact)
            self._attached.files[self._name(artifact.path)] = _stamp(artifact)
            self.sent.files += 1
        self._check()
        self._sink.close()
        self._attached.save()

    def close(self) -> None:
        """Read no more."""
        self._reader.close()

    @property
    def address(self) -> str | None:
        """What is contacted, for people; None when all stays in the runs folder."""
        if self._state is not None and "uri" in self._state.memory:
            return self._state.memory["uri"]
        return sinks.open_sink(self._tracker, tracking_of(self._run)).address()

    @property
    def _attached(self) -> State:
        assert self._state is not None
        return self._state

    def _read(self, state: State, *, at_end: bool) -> None:
        found = [*self._reader.new(), *(self._reader.newest() if at_end else [])]
        known = {(point.key, point.step) for point in self._waiting}
        new = [p for p in found if p.step > state.steps.get(p.key, -1) and (p.key, p.step) not in known]
        self._waiting += new

    def _new_evaluations(self, state: State) -> list[Evaluation]:
        return [one for one in contents.evaluations(self._run) if state.evaluations.get(one.place) != one.stamp]

    def _new_files(self, state: State) -> list[Artifact]:
        found = contents.files(self._run)
        for one in contents.evaluations(self._run):
            found += [Artifact(path, evaluation=one.place) for path in one.files]
        return [file for file in found if state.files.get(self._name(file.path)) != _stamp(file)]

    def _name(self, path: Path) -> str:
        return Path(os.path.relpath(path, self._run.path)).as_posix()

    def _save(self, state: State) -> None:
        if time.monotonic() > self._saved_s + _SAVE_EVERY_S:
            state.save()
            self._saved_s = time.monotonic()


def send_sweep(folder: Path, trial: RunDirectory, tracker: str, status: Status, *, thorough: bool = False) -> Sent:
    """Bring a sweep's own entry up to date: status, plan, results and page.

    Args:
        folder: The sweep's.
        trial: One of its trials: it says which trackers there are.
        tracker: One that shows sweeps.
        status: See `sync`.
        thorough: Set the status also when it was sent before.
    """
    sent, state = Sent(), load_or_begin(folder, trial.root, tracker)
    files = [file for file in contents.files_of_sweep(folder) if state.files.get(file.path.name) != _stamp(file)]
    if not (files or thorough or state.status != status):
        return sent
    sink = sinks.open_sink(tracker, tracking_of(trial))
    sink.attach(Subject("sweep", state))
    if thorough or state.status != status:
        sink.status(status)
        state.status = sent.status = status
    for file in files:
        sink.artifact(file)
        state.files[file.path.name] = _stamp(file)
        sent.files += 1
    sink.close()
    state.save()
    return sent


def tracking_of(run: RunDirectory) -> TrackingConfig:
    """The part of a run's config that says where its numbers go."""
    from codctl.config.schema import TrackingConfig

    try:
        return TrackingConfig.model_validate(run.frozen()["config"].get("tracking", {}))
    except ValueError as error:
        raise BackendError(f"its tracking settings cannot be read: {error}", where=str(run.path)) from error


def _subject_of_run(run: RunDirectory, state: State) -> Subject:
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
