"""A sweep's own MLflow run: the parent of its trials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from codctl.errors import BackendError
from codctl.runs.directory import RunDirectory
from codctl.tracking import receipts
from codctl.tracking.experiment import Experiment
from codctl.tracking.identity import FILE, Identity
from codctl.tracking.push import STATUS, Sent
from codctl.tracking.receipts import Receipts
from codctl.tracking.server import check_artifacts
from codctl.tracking.settings import is_file_of

_FILES = ("sweep.json", "result.json", "table.csv", "report.html")
_GOES_ON = ("running", "queued", "paused", "planned")


def status(trials: Sequence[RunDirectory]) -> str:
    """finished when all trials are; as long as one goes on, so does the sweep; else the worst that happened to one."""
    found = {trial.status() for trial in trials}
    if found & {*_GOES_ON}:
        return "running"
    worst = [word for word in ("failed", "died", "interrupted", "cancelled") if word in found]
    return worst[0] if worst else "finished"


def push(
    folder: Path, identity: Identity, runs_dir: Path, status: str, connect: Callable[[], Any], *, thorough: bool = False
) -> Sent:
    """Bring the sweep's status and pages up to date.

    Args:
        folder: The sweep's.
        identity: Of its MLflow run, which has been made.
        runs_dir: The runs folder.
        status: See `status`.
        connect: Gives an MlflowClient, when one is needed.
        thorough: Set the status also when it was confirmed before.

    Raises:
        BackendError: The MLflow run is not that of this sweep.
    """
    run_id = str(identity.run_id)
    sent, known = Sent(), receipts.load(folder, run_id) or Receipts(run_id)

    @cache
    def client() -> Any:
        found = connect()
        if Experiment(found, runs_dir).existing(folder, identity) is None:
            raise BackendError(
                "the MLflow run that this file names was deleted, or made for another sweep",
                where=str(folder / FILE),
                hint="delete the file: the next trial makes a new one",
            )
        if identity.uri is None:
            check_artifacts(found, run_id, runs_dir)
        return found

    word = STATUS[status]
    if thorough or known.status != word:
        if word == "RUNNING":
            client().update_run(run_id, status=word)
        else:
            client().set_terminated(run_id, status=word)
        sent.status = known.status = word
        known.save(folder)
    for path in (folder / name for name in _FILES):
        if is_file_of(folder, path) and known.artifacts.get(path.name) != (stamp := _stamp(path)):
            client().log_artifact(run_id, str(path))
            known.artifacts[path.name] = stamp
            sent.artifacts += 1
            known.save(folder)
    return sent


def _stamp(path: Path) -> str:
    stat = path.stat()
    return f"{stat.st_size}-{stat.st_mtime_ns}"
