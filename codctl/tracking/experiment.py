"""MLflow's experiments and runs: found, or made once."""

from __future__ import annotations

import getpass
import shlex
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.config.credentials import redacted
from codctl.errors import BackendError
from codctl.runs.directory import RunDirectory
from codctl.tracking import server
from codctl.tracking.identity import KEY_TAG, PLACE_TAG, Identity, is_elsewhere, place_tag, settle

if TYPE_CHECKING:
    from codctl.config.schema import TrackingConfig

_PARAMS_PER_CALL = 100  # MLflow's own limit
_PARAM_CHARS = 6000  # likewise
_KIND_TAG, _KIND = "mlflow.experimentKind", "custom_model_development"  # for pages that go by it: training, not traces


class Experiment:
    """Finds and makes things in MLflow.

    Args:
        client: An MlflowClient.
        runs_dir: The runs folder; beside the sqlite file in it lie its artifacts.
    """

    def __init__(self, client: Any, runs_dir: Path) -> None:
        self._client, self._runs_dir = client, runs_dir

    def id_of(self, name: str) -> str:
        """The experiment, made when there is none.

        Raises:
            BackendError: It was deleted in MLflow.
        """
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(name)
        if found is None:
            is_file = self._client.tracking_uri.startswith("sqlite:")
            location = server.artifacts(self._runs_dir) if is_file else None
            try:
                made = str(self._client.create_experiment(name, artifact_location=location))
                self._client.set_experiment_tag(made, _KIND_TAG, _KIND)
                return made
            except MlflowException as error:
                if not server.has_code(error, "RESOURCE_ALREADY_EXISTS"):  # somebody was quicker
                    raise
                found = self._client.get_experiment_by_name(name)
        if found.lifecycle_stage != "active":
            raise BackendError(
                f"the MLflow experiment {name!r} was deleted",
                hint="restore it in MLflow, or choose another with tracking.experiment=NAME",
            )
        if _KIND_TAG not in found.tags:
            self._client.set_experiment_tag(found.experiment_id, _KIND_TAG, _KIND)
        return str(found.experiment_id)

    def make(self, experiment_id: str, name: str, tags: Mapping[str, str], started_ms: int) -> str:
        """A new run's id."""
        run = self._client.create_run(experiment_id, run_name=name, tags=dict(tags), start_time=started_ms or None)
        return str(run.info.run_id)

    def keyed(self, experiment_id: str, key: str) -> list[Any]:
        """Runs with this key, in an order that everybody sees alike."""
        found = self._client.search_runs([experiment_id], filter_string=f"tags.`{KEY_TAG}` = '{key}'")
        return sorted(found, key=lambda run: (run.info.start_time, run.info.run_id))

    def existing(self, folder: Path, identity: Identity) -> Any:
        """The MLflow run of a folder; None when there is none, it was deleted, or it is another folder's."""
        from mlflow.exceptions import MlflowException

        if not identity.run_id:
            return None
        try:
            found = self._client.get_run(identity.run_id)
        except MlflowException as error:
            if server.has_code(error, "RESOURCE_DOES_NOT_EXIST"):
                return None
            raise
        return found if found.info.lifecycle_stage == "active" and self.is_ours(found, folder, identity) else None

    def is_ours(self, found: Any, folder: Path, identity: Identity) -> bool:
        """Whether an MLflow run was made for this folder, by what MLflow knows of it: files can be copied or forged."""
        tags = found.data.tags
        if tags.get(KEY_TAG, "") != identity.key:
            return False
        if not identity.key:  # of an older codctl
            return bool(found.info.run_name == folder.name)
        return PLACE_TAG not in tags or not is_elsewhere(folder, tags[PLACE_TAG], self._runs_dir, identity.uri)

    def follow(self, found: Any, folder: Path, identity: Identity) -> None:
        """Let the MLflow run of a folder that was renamed or moved have its name and place."""
        here = place_tag(folder, self._runs_dir)
        if identity.was_moved:
            self._client.update_run(identity.run_id, name=folder.name)
        if identity.key and found.data.tags.get(PLACE_TAG) != here:
            self._client.set_tag(identity.run_id, PLACE_TAG, here)
        if identity.was_moved:
            identity.made(folder, identity.run_id, self._runs_dir)

    def parent_of(self, run: RunDirectory, tracking: TrackingConfig) -> str | None:
        """The MLflow run of the sweep that a run belongs to; made when there is none."""
        sweep = run.sweep
        return self.sweep(sweep, tracking) if sweep else None

    def sweep(self, folder: Path, tracking: TrackingConfig) -> str:
        """The MLflow run of a sweep; its trials, wherever they run, make it once."""
        identity, _ = settle(folder, tracking, self._runs_dir)
        if (known := self.existing(folder, identity)) is not None:
            self.follow(known, folder, identity)
            return str(known.info.run_id)
        with server.making(self._runs_dir):
            identity, is_new = settle(folder, tracking, self._runs_dir)
            if (known := self.existing(folder, identity)) is not None:
                return str(known.info.run_id)
            experiment_id = self.id_of(identity.experiment)
            identity, found = self.made_before(experiment_id, folder, identity, is_new=is_new)
            tags = tags_of(identity.key, "sweep", place=place_tag(folder, self._runs_dir))
            run_id = found.info.run_id if found else self.make(experiment_id, folder.name, tags, 0)
            identity.made(folder, run_id, self._runs_dir)
            return str(run_id)

    def made_before(
        self, experiment_id: str, folder: Path, identity: Identity, *, is_new: bool
    ) -> tuple[Identity, Any]:
        """The MLflow run that was made for a folder although the answer was lost, or None.

        Returns:
            The identity too: with a new key, written down, when another folder's run has this one.
        """
        keyed = self.keyed(experiment_id, identity.key) if identity.key and not is_new else []
        for found in keyed:
            if self.is_ours(found, folder, identity):
                return identity, found
        if keyed or not identity.key:
            identity = replace(identity, key=uuid.uuid4().hex).made(folder, None, self._runs_dir)
        return identity, None


def tags_of(key: str, kind: str, *, digest: str = "", parent: str | None = None, place: str = "") -> dict[str, str]:
    """Tags of a run that is about to be made."""
    tags = {KEY_TAG: key, "codctl.kind": kind, "codctl.digest": digest, "mlflow.parentRunId": parent or ""}
    tags[PLACE_TAG] = place
    return {name: value for name, value in tags.items() if value}


def about(run: RunDirectory) -> dict[str, str]:
    """Tags that MLflow's pages show as source, version, user and description of a run."""
    written = run.manifest()
    found = {
        "mlflow.source.name": redacted(shlex.join(written["command"])),
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": str(written["machine"].get("commit") or "").partition(" ")[0],
        "mlflow.user": _user(),
        "mlflow.note.content": redacted(str(run.frozen()["config"].get("description") or "")),
    }
    return {name: value for name, value in found.items() if value}


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a number without a name, as in some containers
        return ""


def log_params(client: Any, run_id: str, values: Mapping[str, object]) -> int:
    """Log settings that are not there yet, and say how many; MLflow refuses to change one."""
    from mlflow.entities import Param

    known = client.get_run(run_id).data.params
    new = [Param(key, str(value)[:_PARAM_CHARS]) for key, value in sorted(values.items()) if key not in known]
    for start in range(0, len(new), _PARAMS_PER_CALL):
        client.log_batch(run_id, params=new[start : start + _PARAMS_PER_CALL])
    return len(new)
