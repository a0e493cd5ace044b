"""Ends processes when the one that has started this is gone, however it went. Run as a script; stdlib only.

Its stdin is a pipe that only its parent holds. Lines `+PID` and `-PID` say what is to be watched and what has ended;
the end of the file says that the parent has. A process that leads a group takes its group with it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys


def main() -> None:
    watched: set[int] = set()
    for line in sys.stdin:
        (watched.add if line.startswith("+") else watched.discard)(int(line[1:]))
    for pid in watched:
        end(pid)


def end(pid: int) -> None:
    """Kill a process, or the group that it leads or has led."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
