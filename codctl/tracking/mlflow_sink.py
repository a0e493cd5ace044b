"""MLflow: a run for each run, its evaluations nested under it, and a run for each sweep above its trials.

What MLflow has is asked of MLflow. What is made there is tagged with a key that was written down before, and looked for
by it when an answer was lost.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from codctl.config.credentials import redacted
from codctl.errors import BackendError
from codctl.tracking import mlflow_server as server
from codctl.tracking.sink import Artifact, Evaluation, Point, Sink, Status, Subject
from codctl.tracking.state import is_elsewhere, place_of, sending

_STATUS: dict[Status, str] = {
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
_KEY, _PLACE, _KIND, _EVALUATION, _STAMP = (
    f"codctl.{name}" for name in ("key", "place", "kind", "evaluation", "stamp")
)
_PARENT = "mlflow.parentRunId"
_ABOUT = {
    "command": "mlflow.source.name",
    "commit": "mlflow.source.git.commit",
    "user": "mlflow.user",
    "description": "mlflow.note.content",
    "digest": "codctl.digest",
}
_TYPE_OF_EXPERIMENT = ("mlflow.experimentKind", "custom_model_development")  # for its pages: training, not traces
_METRICS_PER_CALL, _PARAMS_PER_CALL, _PARAM_CHARS = 1000, 100, 6000  # MLflow's own limits
_LOCK_WAIT_S = 60.0


class MlflowSink(Sink):
    """See `Sink`."""

    title = "MLflow"
    package = "mlflow"
    install = "pip install mlflow"
    has_sweeps = True
    trusted_by: ClassVar[str] = server.URI

    _client: Any
    _experiment_id: str
    _run: Any
    _run_id: str
    _subject: Subject
    _nested: dict[str, list[Any]]

    def address(self) -> str | None:
        return server.to_store(self.tracking.mlflow_uri)

    def attach(self, subject: Subject) -> Mapping[str, int]:
        self._subject, memory = subject, subject.state.memory
        if "uri" not in memory or self.tracking.mlflow_uri not in (None, memory["uri"]):
            memory.clear()  # another server than before knows nothing of it
            memory |= {"uri": self.address(), "experiment": self.tracking.experiment}
        self._client = server.connect(memory["uri"], self._runs_dir)
        self._experiment_id = self._experiment(memory.get("experiment") or self.tracking.experiment)
        self._run = self._sweep(subject) if subject.kind == "sweep" else self._found(subject) or self._made(subject)
        self._run_id = str(self._run.info.run_id)
        self._follow()
        self._log_params(self._run, subject.settings)
        self._nested = {}
        for nested in self._search(f"tags.`{_PARENT}` = '{self._run_id}'"):
            self._nested.setdefault(nested.data.tags.get(_EVALUATION, ""), []).append(nested)
        return {metric.key: metric.step for metric in self._run.data.to_proto().metrics}

    def log(self, points: Sequence[Point]) -> None:
        self._log_points(self._run_id, points)

    def evaluation(self, evaluation: Evaluation) -> None:
        tags = {_EVALUATION: evaluation.place, _STAMP: evaluation.stamp}
        for found in self._nested.pop(evaluation.place, []):
            if found.data.tags.get(_STAMP) == evaluation.stamp and found.info.status == "FINISHED":
                self._nested.setdefault(evaluation.place, []).append(found)
            else:
                self._client.delete_run(found.info.run_id)
        if evaluation.place in self._nested:
            return
        about = {name: text for name, text in self._about(self._subject).items() if name != _ABOUT["description"]}
        if evaluation.command:
            about[_ABOUT["command"]] = redacted(" ".join(evaluation.command))
        tags |= {**about, _KIND: "evaluation", _PARENT: self._run_id}
        made = self._create(f"{self._subject.name}/{evaluation.name}", tags, evaluation.ended_ms)
        self._log_params(made, evaluation.settings)
        self._log_points(made.info.run_id, evaluation.points)
        self._client.set_terminated(made.info.run_id, status="FINISHED", end_time=evaluation.ended_ms)
        self._nested[evaluation.place] = [made]

    def artifact(self, artifact: Artifact) -> None:
        run_id = self._nested[artifact.evaluation][0].info.run_id if artifact.evaluation else self._run_id
        if self._is_local:
            server.check_artifacts(self._client, run_id, self._runs_dir)
        if artifact.text is None:
            self._client.log_artifact(run_id, str(artifact.path), artifact.folder or None)
        else:
            self._client.log_text(run_id, artifact.text, artifact.path.name)

    def status(self, status: Status) -> None:
        word = _STATUS[status]
        if word in ("RUNNING", "SCHEDULED"):
            self._client.update_run(self._run_id, status=word)
        else:
            self._client.set_terminated(self._run_id, status=word, end_time=self._subject.ended_ms)

    @classmethod
    def has_answered(cls, error: Exception) -> bool:
        from mlflow.exceptions import MlflowException, RestException

        codes = {"RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS", "INVALID_PARAMETER_VALUE", "INVALID_STATE"}
        return isinstance(error, RestException) or (isinstance(error, MlflowException) and error.error_code in codes)

    @property
    def _runs_dir(self) -> Path:
        return self._subject.state.runs_dir

    @property
    def _is_local(self) -> bool:
        return self._subject.state.memory["uri"] is None

    def _found(self, subject: Subject) -> Any:
        """Its MLflow run, also one of which the answer was lost; None when there is none, or it was deleted.

        What a folder says of itself can be copied or forged, so a run of another folder is left alone.
        """
        state = subject.state
        known = server.get_run(self._client, state.memory.get("run_id"))
        found = [known] if known is not None else []
        if not found and not state.is_new:
            found = sorted(self._search(f"tags.`{_KEY}` = '{state.key}'"), key=lambda run: run.info.start_time)
        for run in found:
            if run.info.lifecycle_stage == "active" and self._is_ours(run, subject):
                return run
        if found:  # it was deleted, or is of another folder
            kept = {name: state.memory.get(name) for name in ("uri", "experiment")}
            state.renew()
            state.memory |= kept
        return None

    def _is_ours(self, run: Any, subject: Subject) -> bool:
        state, tags = subject.state, run.data.tags
        is_same = tags.get(_KEY) == state.key and _PLACE in tags
        return is_same and not is_elsewhere(state.folder, tags[_PLACE], state.runs_dir, is_local=self._is_local)

    def _made(self, subject: Subject) -> Any:
        state = subject.state
        state.save()  # the key and the address, before there is anything that has to be found
        tags = {**self._about(subject), _KEY: state.key, _KIND: subject.kind, _PLACE: self._place(subject)}
        if subject.sweep is not None:
            tags[_PARENT] = str(self._sweep(subject.sweep).info.run_id)
        made = self._create(subject.name, tags, subject.created_ms)
        state.memory["run_id"] = made.info.run_id
        state.save()
        return made

    def _sweep(self, subject: Subject) -> Any:
        """The MLflow run of a sweep. Its trials, wherever they run, make it once."""
        state, memory = subject.state, self._subject.state.memory
        with sending(state.folder, f"{state.tracker}-parent", _LOCK_WAIT_S) as is_alone:
            if not is_alone:
                raise BackendError(f"another process has been creating this sweep's run for {_LOCK_WAIT_S:g} s")
            state.reload()  # another trial may have been quicker
            if state.memory.get("uri", "") != memory["uri"]:
                state.memory = {"uri": memory["uri"], "experiment": memory.get("experiment")}
            return self._found(subject) or self._made(subject)

    def _follow(self) -> None:
        """Let the MLflow run of a folder that was renamed or moved have its name and place."""
        before, here = self._run.data.tags.get(_PLACE, ""), self._place(self._subject)
        if before == here:
            return
        if Path(json.loads(before)["path"]).name != self._subject.name:
            self._client.update_run(self._run_id, name=self._subject.name)
        self._client.set_tag(self._run_id, _PLACE, here)

    def _place(self, subject: Subject) -> str:
        found = place_of(subject.folder, self._runs_dir)
        return json.dumps({name: found[name] for name in ("path", "inode", "inside", "host")})

    def _about(self, subject: Subject) -> dict[str, str]:
        """Tags that MLflow's pages show as source, version, user and description of a run."""
        found = {tag: subject.about[name] for name, tag in _ABOUT.items() if name in subject.about}
        return {**found, "mlflow.source.type": "LOCAL"} if found else found

    def _search(self, query: str) -> list[Any]:
        return list(self._client.search_runs([self._experiment_id], filter_string=query, max_results=1000))

    def _create(self, name: str, tags: Mapping[str, str], started_ms: int) -> Any:
        tags, started = dict(tags), started_ms or None
        return self._client.create_run(self._experiment_id, run_name=name, tags=tags, start_time=started)

    def _experiment(self, name: str) -> str:
        """Its id; made when there is none."""
        found = self._client.get_experiment_by_name(name)
        if found is None:
            location = server.artifacts(self._runs_dir) if self._is_local else None
            found = server.make_experiment(self._client, name, location)
        if found.lifecycle_stage != "active":
            raise BackendError(
                f"the MLflow experiment {name!r} was deleted",
                hint="restore it in MLflow, or choose another with tracking.experiment=NAME",
            )
        tag, value = _TYPE_OF_EXPERIMENT
        if tag not in found.tags:
            self._client.set_experiment_tag(found.experiment_id, tag, value)
        return str(found.experiment_id)

    def _log_params(self, run: Any, values: Mapping[str, object]) -> None:
        """Those that are not there yet: MLflow refuses to change one."""
        from mlflow.entities import Param

        known = run.data.params
        new = [Param(key, str(value)[:_PARAM_CHARS]) for key, value in sorted(values.items()) if key not in known]
        for start in range(0, len(new), _PARAMS_PER_CALL):
            self._client.log_batch(run.info.run_id, params=new[start : start + _PARAMS_PER_CALL])

    def _log_points(self, run_id: str, points: Sequence[Point]) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(point.key, point.value, point.at_ms, point.step) for point in points]
        for start in range(0, len(metrics), _METRICS_PER_CALL):
            self._client.log_batch(run_id, metrics=metrics[start : start + _METRICS_PER_CALL])
