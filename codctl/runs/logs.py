"""Read a run's logs, also while they grow. Stdlib only."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from codctl.errors import UsageError
from codctl.runs.directory import RunDirectory

_POLL_S = 0.5


def find_log(run: RunDirectory, attempt: int | None) -> Path:
    """The log of an attempt, of the last one by default.

    Raises:
        UsageError: There is no such attempt.
    """
    numbers = [entry["number"] for entry in run.manifest()["attempts"]]
    if not numbers:
        raise UsageError(f"run {run.name!r} has not been started yet", where=str(run.path))
    number = numbers[-1] if attempt is None else attempt
    if number not in numbers:
        raise UsageError(f"run {run.name!r} has no attempt {number} (it has {numbers[0]} to {numbers[-1]})")
    path = run.log_path(number)
    if not path.is_file():
        raise UsageError(f"attempt {number} of run {run.name!r} left no log", where=str(path))
    return path


def read_log(path: Path, run: RunDirectory, *, follow: bool) -> Iterator[str]:
    """Yield the log's lines; with `follow` wait for more until the run has ended."""
    with path.open(encoding="utf-8", errors="replace") as file:
        waiting = ""
        while True:
            ended = not follow or run.status() != "running"
            for piece in file:
                waiting += piece
                if waiting.endswith("\n"):
                    yield waiting.rstrip("\n")
                    waiting = ""
            if ended:
                break
            time.sleep(_POLL_S)
        if waiting:
            yield waiting
