"""Ends processes when the one that has started this is gone, however it went. Run as a script; stdlib only.

Its stdin is a pipe that only its parent holds. Lines `+PID` and `-PID` say what is to be watched and what has ended;
the end of the file says that the parent has. A process that leads a group takes its group with it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path


def main() -> None:
    watched: dict[int, str] = {}
    for line in sys.stdin:
        pid = int(line[1:])
        if line.startswith("+"):
            watched[pid] = birth(pid)
        else:
            watched.pop(pid, None)
    for pid, since in watched.items():
        end(pid, since)


def birth(pid: int) -> str:
    """When a process started, in ticks of the kernel; empty when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
    except OSError:
        return ""


def end(pid: int, since: str) -> None:
    """Kill a process, or the group that it leads or has led, unless another one has got its id since."""
    if birth(pid) not in ("", since):
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
