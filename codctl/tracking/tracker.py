"""Where a stage sends its numbers: the log on disk. A mirror, if there is one, reads them there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from codctl.log import watching_only
from codctl.runs.directory import RunDirectory
from codctl.tracking.jsonl import MetricsLog
from codctl.tracking.mirror import Mirror

if TYPE_CHECKING:
    from codctl.config.schema import Config


class Tracker:
    """The numbers of one run.

    Args:
        run: The run, whose lock this process holds.
        config: Its config; `tracking` says whether it is mirrored to MLflow.
    """

    def __init__(self, run: RunDirectory, config: Config) -> None:
        self._log = MetricsLog(run.metrics_path)
        self._mirror: Mirror | None = None
        if config.tracking.mlflow:
            with watching_only("the MLflow mirror"):
                self._mirror = Mirror(run.path, run.title, run.report_trouble)

    def log(
        self, step: int, phase: str, metrics: Mapping[str, float], timing: Mapping[str, float] | None = None
    ) -> None:
        """Record one step of a phase (warm_start, look, train or validation)."""
        self._log.append(step, phase, metrics, timing)

    def rewind(self, phase: str, step: int) -> None:
        """Forget the steps of a phase after `step`; call it before logging when resuming from a checkpoint."""
        self._log.rewind(phase, step)

    def records(self, phase: str) -> list[dict[str, Any]]:
        """What is recorded of a phase, in the order in which it was."""
        return [record for record in self._log.read() if record["phase"] == phase]

    def steps(self, phase: str) -> list[int]:
        """The steps of a phase that are recorded, in the order in which they were."""
        return [record["step"] for record in self.records(phase)]

    def finish(self, status: str) -> None:
        """End with finished, failed, interrupted, cancelled or paused; waits for the mirror only a little."""
        if self._mirror:
            with watching_only("the MLflow mirror"):
                self._mirror.finish(status)
