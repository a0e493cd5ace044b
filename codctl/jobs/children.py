"""The processes below a job: each leads a group, none hears the scheduler's signals, and none survives the job."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from codctl.jobs import leash
from codctl.jobs.groups import signal_group

_POLL_S = 0.2
_TERM_S = 10.0


class Children:
    """Processes that succeed or fail together.

    Args:
        command: The command line of each.
        environments: One process is started for each of these.
    """

    def __init__(self, command: Sequence[str], environments: Sequence[Mapping[str, str]]) -> None:
        self._command = list(command)
        self._environments = environments
        self._started: list[subprocess.Popen[bytes]] = []
        self._codes: dict[int, int] = {}
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> Self:
        reading = self._cleanup.enter_context(leash.hold())
        # Blocked until the child ignores it, so that none is hit before.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
        try:
            for environment in self._environments:
                self._started.append(self._start(environment, reading))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for child in self._started:  # and what it may have left: until it is waited for, its group's id is its own
            signal_group(child.pid, signal.SIGKILL)
        for child in self._started:
            child.wait(_TERM_S)
        self._cleanup.close()

    def wait(self, deadline_s: float | None = None) -> int | None:
        """Wait until all have ended; the first that fails takes the others with it.

        Returns:
            0, or the first exit code that is not; None when the deadline passed.
        """
        until = None if deadline_s is None else time.monotonic() + deadline_s
        while True:
            running = self._running()
            failed = next((code for code in self._codes.values() if code), 0)
            if not running:
                return failed
            if failed:
                self.stop()
                return failed
            if until is not None and time.monotonic() > until:
                return None
            time.sleep(_POLL_S)

    def stop(self) -> None:
        """End them, in good order if they can."""
        self._end(signal.SIGTERM, _TERM_S)
        self._end(signal.SIGKILL, _TERM_S)

    def _start(self, environment: Mapping[str, str], reading: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - our own worker, or a command of our own
            self._command,
            env={**environment, leash.VARIABLE: str(reading)},
            stdin=subprocess.DEVNULL,
            process_group=0,
            pass_fds=(reading,),
            preexec_fn=_ignore_usr2,
        )

    def _running(self) -> list[int]:
        """Pids that still run. Not by Popen.poll: a signal handler that interrupts it cannot call it again."""
        for child in self._started:
            if child.pid not in self._codes and (code := _ended(child.pid)) is not None:
                self._codes[child.pid] = code
        return [child.pid for child in self._started if child.pid not in self._codes]

    def _end(self, number: int, deadline_s: float) -> None:
        deadline = time.monotonic() + deadline_s
        for pid in self._running():
            signal_group(pid, number)
        while self._running() and time.monotonic() < deadline:
            time.sleep(_POLL_S)


def _ignore_usr2() -> None:
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})


def _ended(pid: int) -> int | None:
    """A child's exit code as a shell counts it; it stays a zombie, so that nobody else gets its group's id."""
    found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if found is None:
        return None
    return found.si_status if found.si_code == os.CLD_EXITED else 128 + found.si_status
