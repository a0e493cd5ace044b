"""A child process as the leader of its own group: one signal reaches all that it started, and none of it is left over.

A group's id is its leader's process id. It is not reused while the leader has not been waited for, so signals are only
sent before that. Stdlib only.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from codctl.errors import StageError
from codctl.files import atomic

_SIGNALLED = 128
_REST_S = 5.0
_LOOK_S = 0.02


class Group:
    """A running child in a session of its own, without a terminal.

    Args:
        process: The leader, started with `start_new_session`.
        on_exit: Called from another thread when the leader has ended; `reap` then gives its exit code.
    """

    def __init__(self, process: subprocess.Popen[bytes], on_exit: Callable[[], None]) -> None:
        self._process = process
        self._ended = threading.Event()
        threading.Thread(target=self._watch, args=(on_exit,), name=f"child-{process.pid}", daemon=True).start()

    @classmethod
    def start(
        cls,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        log: Path,
        on_exit: Callable[[], None],
        pass_fds: Sequence[int] = (),
    ) -> Self:
        """Start a child that reads nothing and appends what it prints to `log`.

        Raises:
            StageError: The log cannot be written, or the program cannot be started.
        """
        try:
            with atomic.storage_errors(log):
                log.parent.mkdir(parents=True, exist_ok=True)
                file = log.open("ab")
        except OSError as error:
            raise StageError(f"cannot write: {error.strerror}", where=str(log)) from error
        with file:
            try:
                process = subprocess.Popen(  # noqa: S603  callers build the command line themselves
                    argv,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    pass_fds=pass_fds,
                )
            except OSError as error:
                raise StageError(f"cannot start a process: {error.strerror}", where=argv[0]) from error
        return cls(process, on_exit)

    @property
    def pid(self) -> int:
        return self._process.pid

    def signal(self, number: int) -> None:
        """Send a signal to the leader and all that it started."""
        if self._process.returncode is None:
            signal_group(self.pid, number)

    def reap(self, timeout_s: float | None = None) -> int | None:
        """Wait for the leader, then end what it has left in its group.

        Args:
            timeout_s: How long to wait at most.

        Returns:
            The leader's exit code as a shell counts it, 128 + n for signal n; None when it still runs.
        """
        if not self._ended.wait(timeout_s):
            return None
        self.signal(signal.SIGKILL)
        code = self._process.wait()
        self._wait_for_the_rest()
        return code if code >= 0 else _SIGNALLED - code

    def release(self) -> None:
        """Let it go its own way; should this process live on, it still collects the exit code."""
        threading.Thread(target=self._process.wait, name=f"released-{self.pid}", daemon=True).start()

    def _wait_for_the_rest(self) -> None:
        """Until killed processes have let go of memory and GPUs."""
        deadline = time.monotonic() + _REST_S
        while _is_alive(self.pid) and time.monotonic() < deadline:
            time.sleep(_LOOK_S)

    def _watch(self, on_exit: Callable[[], None]) -> None:
        with contextlib.suppress(ChildProcessError):  # released, and collected already
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)  # it stays, so that its id stays taken
        self._ended.set()
        on_exit()


def signal_group(leader: int, number: int) -> None:
    """Send a signal to the group of a child that has not been waited for; one that is stopped is woken to answer it."""
    # No permission: macOS says so when only ended processes are left in the group.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)
        if number == signal.SIGTERM:
            os.killpg(leader, signal.SIGCONT)


def _is_alive(group: int) -> bool:
    """Whether it holds a process that is more than an exit code, which a container's init may never collect."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            state, _parent, its_group, *_ = path.read_text(errors="replace").rpartition(")")[2].split()
            if int(its_group) == group and state not in "ZX":
                return True
    return False


def end_own_group() -> None:
    """Ask this process, and all that it started when it leads a group, to stop."""
    _signal_own(signal.SIGTERM)


def kill_own_group() -> None:
    """End them now."""
    _signal_own(signal.SIGKILL)


def _signal_own(number: int) -> None:
    # A group that somebody else leads holds processes that are none of ours.
    if os.getpgrp() == os.getpid():
        os.killpg(0, number)
    else:
        os.kill(os.getpid(), number)
