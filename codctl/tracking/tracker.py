"""Where a stage sends its numbers: the log on disk first, then the mirror if there is one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.runs.directory import RunDirectory
from codctl.tracking.jsonl import MetricsLog
from codctl.tracking.mlflow import MlflowMirror

if TYPE_CHECKING:
    from codctl.config.schema import Config


class Tracker:
    """The numbers of one run.

    Args:
        run: The run, whose lock this process holds.
        config: Its config; `tracking` says where the mirror is.
    """

    def __init__(self, run: RunDirectory, config: Config) -> None:
        self._log = MetricsLog(run.metrics_path)
        self._mirror: MlflowMirror | None = None
        if config.tracking.mlflow:
            tracking = config.tracking
            self._mirror = MlflowMirror(
                tracking.mlflow_uri, tracking.experiment, run.name, run.path, _params(run, config)
            )
            self._mirror.artifact(run.path / "config.json")

    def log(
        self, step: int, phase: str, metrics: Mapping[str, float], timing: Mapping[str, float] | None = None
    ) -> None:
        """Record one step of a phase (warm_start, train or validation)."""
        self._log.append(step, phase, metrics, timing)
        if self._mirror:
            self._mirror.notify()

    def rewind(self, phase: str, step: int) -> None:
        """Forget the steps of a phase after `step`; call it before logging when resuming from a checkpoint."""
        self._log.rewind(phase, step)

    def artifact(self, path: Path, folder: str = "") -> None:
        """Show a small file, or a folder of them, in the mirror."""
        if self._mirror:
            self._mirror.artifact(path, folder)

    def finish(self, status: str) -> None:
        """End with finished, failed or interrupted; waits for the mirror only a little."""
        if self._mirror:
            self._mirror.finish(status)


def _params(run: RunDirectory, config: Config) -> dict[str, object]:
    return {"digest": run.manifest()["digest"], **_flatten(config.model_dump(mode="json"))}


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
