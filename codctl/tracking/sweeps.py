"""A sweep's own MLflow run: the parent of its trials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from codctl.runs.directory import RunDirectory
from codctl.tracking import receipts
from codctl.tracking.push import STATUS, Sent
from codctl.tracking.receipts import Receipts

_FILES = ("sweep.json", "result.json", "table.csv", "report.html")
_GOES_ON = ("running", "queued", "paused", "planned")


def status(trials: Sequence[RunDirectory]) -> str:
    """finished when all trials are; as long as one goes on, so does the sweep; else the worst that happened to one."""
    found = {trial.status() for trial in trials}
    if found & {*_GOES_ON}:
        return "running"
    worst = [word for word in ("failed", "died", "interrupted", "cancelled") if word in found]
    return worst[0] if worst else "finished"


def push(folder: Path, run_id: str, status: str, connect: Callable[[], Any], *, thorough: bool = False) -> Sent:
    """Bring the sweep's status and pages up to date.

    Args:
        folder: The sweep's.
        run_id: Of its MLflow run.
        status: See `status`.
        connect: Gives an MlflowClient, when one is needed.
        thorough: Set the status also when it was confirmed before.
    """
    sent, known = Sent(), receipts.load(folder, run_id) or Receipts(run_id)
    word = STATUS[status]
    if thorough or known.status != word:
        if word == "RUNNING":
            connect().update_run(run_id, status=word)
        else:
            connect().set_terminated(run_id, status=word)
        sent.status = known.status = word
        known.save(folder)
    for path in (folder / name for name in _FILES):
        if path.is_file() and known.artifacts.get(path.name) != (stamp := _stamp(path)):
            connect().log_artifact(run_id, str(path))
            known.artifacts[path.name] = stamp
            sent.artifacts += 1
            known.save(folder)
    return sent


def _stamp(path: Path) -> str:
    stat = path.stat()
    return f"{stat.st_size}-{stat.st_mtime_ns}"
