"""When to start no more jobs: too many failed, or the first ones all failed for the same reason."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from codctl.processes import last_lines, tail
from codctl.runs import attempt
from codctl.runs.logs import WORKER_LOG

ALIKE = 3  # as many first jobs with one and the same error speak against the rest

# Finished, paused, cancelled or Ctrl-C, terminated: ended as ordered.
_ORDERED = (0, 75, 130, 143)
_SIGNALLED = 128


@dataclass(frozen=True)
class Before:
    """How a run stood when a job for it began, to tell the job's words from older ones.

    Attributes:
        attempts: How many there were.
        log_bytes: Size of `worker.log`.
    """

    attempts: int = 0
    log_bytes: int = 0

    @classmethod
    def of(cls, run: Path) -> Self:
        log = run / WORKER_LOG
        return cls(attempt.count(run), log.stat().st_size if log.is_file() else 0)


class Failures:
    """Counts how jobs ended.

    Args:
        max_failures: Failed jobs after which no more are started; None: no limit.
    """

    def __init__(self, max_failures: int | None) -> None:
        self._max = max_failures
        self._failed = 0
        self._ended = 0
        self._reasons: set[str] = set()

    def count(self, code: int, why: str) -> None:
        """Note that a job ended with this exit code, and what it said about it."""
        self._ended += 1
        failed = code not in _ORDERED
        self._failed += failed
        if self._ended <= ALIKE:
            # Killed by a signal: that says nothing about the jobs to come.
            self._reasons.add(why if failed and code < _SIGNALLED else "")

    def why_stop(self) -> str:
        """Why no more jobs should be started; empty when there is no reason."""
        if self._max is not None and self._failed >= max(self._max, 1):
            return f"{self._failed} failed, and max_failures is {self._max}"
        if self._ended >= ALIKE and len(self._reasons) == 1 and (one := next(iter(self._reasons))):
            return f"the first {ALIKE} failed in the same way: {one}"
        return ""


def reason(run: Path, before: Before) -> str:
    """The last line that a failed job said about its end, without the run's own name; empty when it said nothing."""
    number = attempt.count(run)
    message = attempt.read(run, number)["message"] if number > before.attempts else ""
    lines = last_lines(str(message)) or last_lines(tail(run / WORKER_LOG, before.log_bytes))
    own = rf"{re.escape(str(run))}|(?<![\w-]){re.escape(run.name)}(?![\w-])"
    return re.sub(own, "RUN", lines[-1]) if lines else ""
