"""Bring MLflow up to what a run's folder holds. Everything may be cut off anywhere, and done again.

Points and settings are the same each time they are sent, so that MLflow keeps one of each. What MLflow makes (runs) is
tagged with a key that was written down before, and looked for by it when an answer was lost.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from codctl.config.schema import TrackingConfig
from codctl.errors import BackendError
from codctl.runs.directory import RunDirectory
from codctl.tracking import evaluations, identity, receipts, settings
from codctl.tracking.evaluations import Evaluation
from codctl.tracking.experiment import Experiment, about, log_params, tags_of
from codctl.tracking.identity import KEY_TAG
from codctl.tracking.points import Point, PointsReader
from codctl.tracking.receipts import Receipts
from codctl.tracking.server import check_artifacts, has_code

STATUS = {
    "finished": "FINISHED",
    "failed": "FAILED",
    "interrupted": "KILLED",
    "cancelled": "KILLED",
    "died": "KILLED",
    "paused": "SCHEDULED",
    "queued": "SCHEDULED",
    "planned": "SCHEDULED",
    "running": "RUNNING",
}
_SHARED_TAGS = ("mlflow.source.name", "mlflow.source.type", "mlflow.source.git.commit", "mlflow.user")
_POINTS_PER_CALL = 1000  # MLflow's own limit
_SAVE_EVERY_S = 5.0


@dataclass
class Sent:
    """What was sent."""

    made: int = 0
    params: int = 0
    points: int = 0
    evaluations: int = 0
    artifacts: int = 0
    removed: int = 0
    status: str = ""

    def __bool__(self) -> bool:
        return self != Sent()


@dataclass(frozen=True)
class _File:
    """A file for MLflow; with `text`, this instead of what the file holds."""

    run_id: str
    path: Path
    folder: str
    name: str
    stamp: str
    text: str | None = None


class Push:
    """One run's way to MLflow.

    Args:
        run: The run. Nobody else may push it at the same time.
        connect: Gives an MlflowClient, when one is needed.
        check: Called before each request; raises to give up.
    """

    def __init__(self, run: RunDirectory, connect: Callable[[], Any], check: Callable[[], None] = lambda: None) -> None:
        self.run, self.sent = run, Sent()
        self._connect, self._check = connect, check
        self._created_ms = _ms(run.manifest()["created"])
        self._reader = PointsReader(run.metrics_path, self._created_ms)
        self._receipts = Receipts("")
        self._unconfirmed: list[Point] = []
        self._pending: list[Point] = []
        self._asked: set[tuple[str, int]] = set()
        self._nested: dict[str, str] | None = None
        self._saved_s = time.monotonic()

    def is_complete(self, status: str) -> bool:
        """Whether MLflow has confirmed all there is; it is not asked."""
        found = identity.read(self.run.path, self.run.root)
        confirmed = receipts.load(self.run.path, found.run_id) if found and found.run_id else None
        if (
            confirmed is None
            or (found and found.was_moved)
            or confirmed.in_doubt
            or not confirmed.params
            or confirmed.status != STATUS[status]
        ):
            return False
        self._receipts = confirmed
        self._unconfirmed = [*self._reader.new(), *self._reader.newest()]
        self._pending = [point for point in self._unconfirmed if not confirmed.has(point)]
        results = evaluations.find(self.run.path)
        stamps = {place: receipt["stamp"] for place, receipt in confirmed.evaluations.items()}
        return not self._pending and all(stamps.get(e.place) == e.stamp for e in results) and not self._files()

    def attach(self, status: str = "", *, thorough: bool = False) -> None:
        """Find or make the MLflow run.

        Args:
            status: How the run stands, if MLflow should show it at once.
            thorough: Ask MLflow what it has, also when it was all confirmed before.
        """
        self._check()
        self._client = self._connect()
        tracking = tracking_of(self.run)
        self._experiment = Experiment(self._client, self.run.root)
        self.identity, is_new = identity.settle(self.run.path, tracking, self.run.root)
        known = self._experiment.existing(self.run.path, self.identity)
        if known is None:
            self._make(tracking, is_new=is_new)
            known = self._client.get_run(self.identity.run_id)
        self._experiment.follow(known, self.run.path, self.identity)
        self._experiment_id = known.info.experiment_id
        confirmed = receipts.load(self.run.path, known.info.run_id)
        self._receipts = confirmed if confirmed and not thorough else self._ask(known, confirmed)
        if known.info.status != self._receipts.status:
            self._receipts.status = ""
        if self._receipts.evaluations:  # a file says so, and files can be copied or forged
            ours = set(self._nested_runs().values())
            kept = {place: one for place, one in self._receipts.evaluations.items() if one.get("run_id") in ours}
            self._receipts.evaluations = kept
        if status:
            self.status(status)

    @property
    def run_id(self) -> str:
        return self._receipts.run_id

    def params(self) -> None:
        """The settings, once: MLflow's do not change."""
        if self._receipts.params:
            return
        self._check()
        values = settings.params(self.run)
        self.sent.params += log_params(self._client, self.run_id, values)
        self._receipts.params = True
        self._save()

    def points(self, *, at_end: bool = False) -> None:
        """The numbers that are not confirmed yet.

        Args:
            at_end: The run has ended: also the newest of each phase.
        """
        new = [*self._reader.new(), *(self._reader.newest() if at_end else [])]
        self._unconfirmed += new
        self._pending += [point for point in new if not self._is_there(point)]
        while self._pending:
            batch = self._pending[:_POINTS_PER_CALL]
            self._log(self.run_id, batch)
            self._receipts.confirm(batch)
            self._pending = self._pending[_POINTS_PER_CALL:]
            self.sent.points += len(batch)
            self._save(now=False)
        self._receipts.confirm(self._unconfirmed)
        self._unconfirmed = []
        if new:
            self._save()

    def evaluations(self) -> None:
        """Each finished evaluation as a nested run; one that was played anew replaces its run."""
        for found in evaluations.find(self.run.path):
            before = self._receipts.evaluations.get(found.place)
            if before and before["stamp"] == found.stamp:
                continue
            run_id = self._nested_run(found)
            if self._evaluation(run_id, found):
                self.sent.evaluations += 1
            if before:
                self._delete(before["run_id"])
            self._receipts.evaluations[found.place] = {"stamp": found.stamp, "run_id": run_id}
            self._save()

    def _evaluation(self, run_id: str, found: Evaluation) -> bool:
        """Send what a nested run lacks; False when it lacks nothing."""
        self._check()
        known = self._client.get_run(run_id)
        there = self._history(known)
        points = [p for p in evaluations.points(found, self._created_ms) if (p.key, p.step) not in there]
        if not points and known.info.status == "FINISHED":
            return False
        self.sent.params += log_params(self._client, run_id, evaluations.params(found))
        for start in range(0, len(points), _POINTS_PER_CALL):
            self._log(run_id, points[start : start + _POINTS_PER_CALL])
        self._check()
        self._client.set_terminated(run_id, status="FINISHED", end_time=_modified_ms(found.files[0]))
        self.sent.points += len(points)
        return True

    def artifacts(self) -> None:
        """Small files: config, pages, results, first and last rollouts."""
        checked: set[str] = set()
        for file in self._files():
            self._check()
            if self.identity.uri is None and file.run_id not in checked:
                check_artifacts(self._client, file.run_id, self.run.root)
                checked.add(file.run_id)
            if file.text is None:
                self._client.log_artifact(file.run_id, str(file.path), file.folder or None)
            else:
                self._client.log_text(file.run_id, file.text, file.path.name)
            self._receipts.artifacts[file.name] = file.stamp
            self.sent.artifacts += 1
            self._save(now=False)

    def _files(self) -> list[_File]:
        """Those that MLflow does not have as they are now."""
        text = settings.config_text(self.run)
        stamp = hashlib.sha256(text.encode()).hexdigest()[:16]
        found = [_File(self.run_id, self.run.path / "config.json", "", "config.json", stamp, text)]
        found += [self._file(self.run_id, path, folder) for path, folder in settings.files(self.run)]
        for result in evaluations.find(self.run.path):
            receipt = self._receipts.evaluations.get(result.place)
            found += [self._file(receipt["run_id"], path) for path in result.files] if receipt else []
        return [file for file in found if self._receipts.artifacts.get(file.name) != file.stamp]

    def _file(self, run_id: str, path: Path, folder: str = "") -> _File:
        stat, name = path.stat(), Path(os.path.relpath(path, self.run.path)).as_posix()
        return _File(run_id, path, folder, name, f"{stat.st_size}-{stat.st_mtime_ns}")

    def status(self, status: str) -> None:
        """How the run stands, in MLflow's words."""
        word = STATUS[status]
        if self._receipts.status == word:
            return
        self._check()
        if word in ("RUNNING", "SCHEDULED"):
            self._client.update_run(self.run_id, status=word)
        else:
            self._client.set_terminated(self.run_id, status=word, end_time=_ended_ms(self.run))
        self._receipts.status = self.sent.status = word
        self._save()

    def remove_doubles(self) -> None:
        """Delete MLflow runs that were made although the answer to an earlier request came late or never."""
        if not self._receipts.in_doubt:
            return
        ours = {self.run_id, *(receipt["run_id"] for receipt in self._receipts.evaluations.values())}
        keys = {self.identity.key, *(self.identity.of_part(_part(e)) for e in evaluations.find(self.run.path))} - {""}
        same = f"tags.`{KEY_TAG}` = '{self.identity.key}'"
        for made in [*self._search(f"tags.`mlflow.parentRunId` = '{self.run_id}'"), *self._search(same)]:
            if made.info.run_id not in ours and made.data.tags.get(KEY_TAG) in keys:
                self._delete(made.info.run_id)
                self.sent.removed += 1
        self._receipts.in_doubt = False
        self._save()

    def everything(self, status: str) -> None:
        """All that MLflow lacks. Files come last: a store that takes none costs only them."""
        self.params()
        self.points(at_end=True)
        self.evaluations()
        self.status(status)
        self.remove_doubles()
        self.artifacts()

    def close(self) -> None:
        """Write down what was confirmed."""
        self._reader.close()
        if self._receipts.run_id:
            self._save()

    def _make(self, tracking: TrackingConfig, *, is_new: bool) -> None:
        folder, experiment, ours = self.run.path, self._experiment, self.identity
        experiment_id = experiment.id_of(ours.experiment)
        parent = experiment.parent_of(self.run, tracking)
        in_doubt = receipts.load(folder, "") is not None
        Receipts("").save(folder)  # stays when no answer comes: it may be made nevertheless
        ours, found = experiment.made_before(experiment_id, folder, ours, is_new=is_new)
        if found:
            run_id = str(found.info.run_id)
        else:
            digest, place = str(self.run.manifest()["digest"]), identity.place_tag(folder, self.run.root)
            tags = tags_of(ours.key, "run", digest=digest, parent=parent, place=place)
            run_id = experiment.make(experiment_id, self.run.name, {**about(self.run), **tags}, self._created_ms)
            self.sent.made += 1
        self.identity = ours.made(folder, run_id, self.run.root)
        Receipts(run_id, in_doubt=in_doubt).save(folder)

    def _nested_run(self, found: Evaluation) -> str:
        key = self.identity.of_part(_part(found))
        nested = self._nested_runs()
        if key not in nested:
            self._check()
            tags = tags_of(key, "evaluation", digest=str(found.result.get("digest", "")), parent=self.run_id)
            tags |= {name: value for name, value in about(self.run).items() if name in _SHARED_TAGS}
            tags |= {"mlflow.source.name": shlex.join(command)} if (command := found.result.get("command")) else {}
            before, self._receipts.in_doubt = self._receipts.in_doubt, True
            self._save()  # as above
            name = f"{self.run.name}/{found.name}"
            try:
                made = self._experiment.make(self._experiment_id, name, tags, _modified_ms(found.files[0]))
            except Exception:
                self._nested = None
                raise
            nested[key], self._receipts.in_doubt = made, before
        return nested[key]

    def _nested_runs(self) -> dict[str, str]:
        """The MLflow runs below this one, by key."""
        if self._nested is None:
            found = self._search(f"tags.`mlflow.parentRunId` = '{self.run_id}'")
            self._nested = {run.data.tags.get(KEY_TAG, ""): run.info.run_id for run in found}
        return self._nested

    def _ask(self, known: Any, confirmed: Receipts | None) -> Receipts:
        """Trust nothing that is written down here about what MLflow has, but for the files."""
        files = confirmed.artifacts if confirmed else {}
        self._asked = self._history(known)
        return Receipts(known.info.run_id, status=known.info.status, artifacts=files, in_doubt=True)

    def _history(self, known: Any) -> set[tuple[str, int]]:
        found = set()
        for key in sorted(known.data.metrics):
            self._check()
            found |= {(key, metric.step) for metric in self._client.get_metric_history(known.info.run_id, key)}
        return found

    def _is_there(self, point: Point) -> bool:
        return (point.key, point.step) in self._asked or self._receipts.has(point)

    def _delete(self, run_id: str) -> None:
        from mlflow.exceptions import MlflowException

        self._check()
        try:
            self._client.delete_run(run_id)
        except MlflowException as error:
            if not (has_code(error, "RESOURCE_DOES_NOT_EXIST") or has_code(error, "INVALID_STATE")):
                raise

    def _search(self, query: str) -> list[Any]:
        self._check()
        return list(self._client.search_runs([self._experiment_id], filter_string=query, max_results=1000))

    def _log(self, run_id: str, points: Sequence[Point]) -> None:
        from mlflow.entities import Metric

        self._check()
        metrics = [Metric(point.key, point.value, point.at_ms, point.step) for point in points]
        self._client.log_batch(run_id, metrics=metrics)

    def _save(self, *, now: bool = True) -> None:
        if now or time.monotonic() > self._saved_s + _SAVE_EVERY_S:
            self._receipts.save(self.run.path)
            self._saved_s = time.monotonic()


def tracking_of(run: RunDirectory) -> TrackingConfig:
    """The part of a run's config that says where its numbers go."""
    values: Mapping[str, Any] = run.frozen()["config"].get("tracking", {})
    try:
        return TrackingConfig.model_validate(values)
    except ValueError as error:
        raise BackendError(f"its tracking settings cannot be read: {error}", where=str(run.path)) from error


def _part(found: Evaluation) -> str:
    return f"{found.place}/{found.stamp}"


def _ms(moment: str) -> int:
    try:
        return int(datetime.fromisoformat(moment).timestamp() * 1000)
    except ValueError:
        return 0


def _modified_ms(path: Path) -> int:
    return path.stat().st_mtime_ns // 1_000_000


def _ended_ms(run: RunDirectory) -> int | None:
    ended = [attempt["ended"] for attempt in run.attempts() if attempt["ended"]]
    return _ms(ended[-1]) if ended else None
