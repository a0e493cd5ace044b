"""Where a stage sends its numbers: the log on disk. The trackers of the recipe get them from there."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from codctl.log import watching_only
from codctl.runs.directory import RunDirectory
from codctl.tracking import sinks
from codctl.tracking.jsonl import MetricsLog

if TYPE_CHECKING:
    from codctl.config.schema import Config
    from codctl.tracking.sender import Sender


class Tracker:
    """The numbers of one run.

    Args:
        run: The run, whose lock this process holds.
        config: Its config; `tracking` says which trackers get copies.
    """

    def __init__(self, run: RunDirectory, config: Config) -> None:
        self._run, self._log = run, MetricsLog(run.metrics_path)
        self._trouble: dict[str, str] = {}
        self._senders: list[Sender] = []
        with watching_only("the trackers"):
            from codctl.tracking.sender import Sender  # it reads results, whose types take a while to import

            for name in sinks.names(config.tracking):
                self._senders.append(Sender(run.path, run.title, name, partial(self._report, name)))

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
        """End with finished, failed, interrupted, cancelled or paused; waits for the trackers only a little."""
        with watching_only("the trackers"):
            for sender in self._senders:
                sender.end(status)
            for sender in self._senders:
                sender.wait()

    def _report(self, name: str, trouble: str) -> None:
        """Let `codctl status` show what is wrong with the trackers at the moment."""
        self._trouble[name] = trouble
        self._run.report_trouble("; ".join(text for text in self._trouble.values() if text))
