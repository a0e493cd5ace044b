"""Who holds a lock, and how to end it: never a process that merely got the same number later."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

import psutil

from codctl.files import lock


@dataclass(frozen=True)
class Holder:
    """A live process that holds a lock."""

    pid: int
    host: str

    @property
    def is_here(self) -> bool:
        return self.host == socket.gethostname()

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def holder_of(path: Path) -> Holder | None:
    """The process that holds a lock now; None when nobody does, or when it cannot be told who."""
    if not _is_plain(path) or not lock.is_locked(path):
        return None
    content = lock.read_holder(path)
    if content is None:
        return None
    found = Holder(content["pid"], content["host"])
    # The name is written just after the lock was taken: in between the file still names the holder before.
    return found if not found.is_here or _has_open(found.pid, path) else None


def send(path: Path, number: int) -> bool:
    """Send a signal to the holder of a lock on this machine, and to its process group when it leads a session.

    A worker that was started in the background leads one and may have children; a command in a terminal shares its
    group with whatever else was typed there.

    Returns:
        Whether there was one to send it to.
    """
    holder = holder_of(path)
    if holder is None or not holder.is_here or holder.pid == os.getpid():
        return False
    with contextlib.suppress(ProcessLookupError):
        if os.getsid(holder.pid) == holder.pid:
            os.killpg(holder.pid, number)
        else:
            os.kill(holder.pid, number)
    return True


def wake(path: Path) -> Holder | None:
    """Let the holder of a lock on this machine go on when it was stopped (SIGSTOP, Ctrl-Z), with its process group.

    Returns:
        The holder if it was stopped.
    """
    holder = holder_of(path)
    if holder is None or not holder.is_here or not _is_stopped(holder.pid):
        return None
    with contextlib.suppress(ProcessLookupError):
        os.killpg(os.getpgid(holder.pid), signal.SIGCONT)
    return holder


def _is_plain(path: Path) -> bool:
    """Whether it is a file of its own: a link could be to the lock of another run, whose holder has done nothing."""
    try:
        about = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(about.st_mode) and about.st_nlink == 1


def _is_stopped(pid: int) -> bool:
    with contextlib.suppress(psutil.Error):
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    return False


def _has_open(pid: int, path: Path) -> bool:
    with contextlib.suppress(psutil.Error, OSError):  # it has ended, or is somebody else's and does not say
        return any(Path(file.path).samefile(path) for file in psutil.Process(pid).open_files())
    return False
