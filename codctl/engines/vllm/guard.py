"""What must not outlive this process: the model's processes, which hold memory and GPUs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

_WARDEN = Path(__file__).with_name("warden.py")
_END_S = 10.0


class Guard:
    """Has processes ended when this one dies, also by SIGKILL.

    A process beside this one waits for it (`warden`): the model's processes are vLLM's own, and take no leash. It is
    started with the first that it watches.
    """

    def __init__(self) -> None:
        self._warden: subprocess.Popen[bytes] | None = None

    def start(self) -> int:
        """Start it if it does not run, and return the pipe into which `tell_of_self` writes."""
        if self._warden is None or self._warden.poll() is not None:
            self._warden = subprocess.Popen(  # noqa: S603  our own script
                [sys.executable, "-I", "-S", str(_WARDEN)], stdin=subprocess.PIPE, start_new_session=True
            )
        assert self._warden.stdin is not None
        return self._warden.stdin.fileno()

    def watch(self, pid: int) -> None:
        """End this process too, with its group if it leads one."""
        os.write(self.start(), f"+{pid}\n".encode())

    def release(self, pid: int) -> None:
        """It has ended, and its id may get another meaning."""
        if self._warden is not None:
            with contextlib.suppress(OSError):
                os.write(self.start(), f"-{pid}\n".encode())

    def close(self) -> None:
        """End what is still watched."""
        if self._warden is None:
            return
        warden, self._warden = self._warden, None
        assert warden.stdin is not None
        warden.stdin.close()
        try:
            warden.wait(_END_S)
        except subprocess.TimeoutExpired:
            warden.kill()
            warden.wait()


def tell_of_self(pipe: int) -> None:
    """In a child between fork and exec: watched before it does anything, and deaf to a scheduler's warning."""
    os.write(pipe, b"+%d\n" % os.getpid())
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
