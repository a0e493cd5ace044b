"""MLflow's experiments and runs: found, or made once."""

from __future__ import annotations

import getpass
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.config.credentials import redacted
from codctl.errors import BackendError
from codctl.runs.directory import RunDirectory
from codctl.tracking import server
from codctl.tracking.identity import KEY_TAG, Identity, settle

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

    def follow(self, folder: Path, identity: Identity) -> None:
        """Call the MLflow run of a folder that was renamed as the folder is called now."""
        if identity.was_moved and identity.run_id:
            self._client.update_run(identity.run_id, name=folder.name)
            identity.made(folder, identity.run_id, self._runs_dir)

    def parent_of(self, run: RunDirectory, tracking: TrackingConfig) -> str | None:
        """The MLflow run of the sweep that a run belongs to; made when there is none."""
        sweep = run.sweep
        return self.sweep(sweep, tracking) if sweep else None

    def sweep(self, folder: Path, tracking: TrackingConfig) -> str:
        """The MLflow run of a sweep; its trials, wherever they run, make it once."""
        identity, _ = settle(folder, tracking, self._runs_dir)
        if identity.run_id:
            self.follow(folder, identity)
            return identity.run_id
        with server.making(self._runs_dir):
            identity, is_new = settle(folder, tracking, self._runs_dir)
            if identity.run_id:
                return identity.run_id
            experiment_id = self.id_of(identity.experiment)
            found = [] if is_new else self.keyed(experiment_id, identity.key)
            tags = tags_of(identity.key, "sweep")
            run_id = found[0].info.run_id if found else self.make(experiment_id, folder.name, tags, 0)
            identity.made(folder, run_id, self._runs_dir)
            return str(run_id)


def tags_of(key: str, kind: str, *, digest: str = "", parent: str | None = None) -> dict[str, str]:
    """Tags of a run that is about to be made."""
    tags = {KEY_TAG: key, "codctl.kind": kind, "codctl.digest": digest, "mlflow.parentRunId": parent or ""}
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
