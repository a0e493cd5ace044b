"""One process at a time per run: an flock that the kernel drops when its holder dies, however it dies. Stdlib only."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shlex
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from codctl.errors import CodctlError, PreflightError, RefusedError, StageError
from codctl.files import atomic, reader
from codctl.processes import is_alive

if TYPE_CHECKING:
    from codctl.files.records import Holder

_PATIENCE_S = 1.0
_ATTEMPTS = 5
_PAUSE_S = 0.02


class MovedError(StageError):
    """A locked folder was moved, deleted or replaced.

    Attributes:
        found: Where the folder is now; None when it is gone or unknown.
    """

    def __init__(self, folder: Path, found: Path | None) -> None:
        where_to = f" to {found}" if found else ""
        resume = f"`codctl resume {shlex.quote(str(found))}` continues a run from its last checkpoint" if found else ""
        what = f"the folder was moved{where_to}" if found else "the folder was moved, deleted or replaced"
        super().__init__(f"{what} while codctl worked in it", where=str(folder), hint=resume)
        self.found = found


class RunLock:
    """Hold a run's lock while the `with` block lasts, and keep writes out of any other folder of the same name.

    Args:
        path: The lock file. It stays behind (removing it would let two processes lock two different files).
        patience_s: How long to try. Readers hold it too, for an instant, which must not look like a holder.

    Raises:
        RefusedError: Another process holds it; its pid and host are in the message.
        PreflightError: The file system cannot lock.
    """

    def __init__(self, path: Path, patience_s: float = _PATIENCE_S) -> None:
        self.path = path
        self._patience_s = patience_s
        self._descriptor = -1

    def __enter__(self) -> Self:
        for _ in range(_ATTEMPTS):
            descriptor = self._locked()
            if _is_at(descriptor, self.path):
                break
            os.close(descriptor)  # the run was moved aside while we waited: what we locked is elsewhere now
        else:
            raise in_use(self.path)
        self._descriptor = descriptor
        text = json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode()
        try:
            with atomic.storage_errors(self.path):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, text, 0)
        except BaseException:
            os.close(descriptor)
            raise
        atomic.guard(self.path, self.check)
        return self

    def check(self) -> None:
        """Check that the path still leads to the file that is locked.

        Raises:
            MovedError: It does not. Another process may have locked what is there now.
        """
        with contextlib.suppress(OSError):  # a network file system that does not answer has moved nothing
            if not _is_at(self._descriptor, self.path):
                raise MovedError(self.path.parent, self._found())

    def _found(self) -> Path | None:
        """Where the folder is now, as far as the kernel tells."""
        try:
            path = Path(f"/proc/self/fd/{self._descriptor}").readlink()  # Linux
        except OSError:
            return None
        return path.parent if _is_at(self._descriptor, path) else None

    def _locked(self) -> int:
        try:
            with atomic.storage_errors(self.path):
                descriptor = open_lock(self.path, os.O_RDWR | os.O_CREAT)
        except FileNotFoundError:
            raise RefusedError(
                "another process has just moved this run aside",
                where=str(self.path.parent),
                hint="run the same command again to start a new one",
            ) from None
        try:
            locked = try_lock(descriptor, self.path, self._patience_s)
        except BaseException:
            os.close(descriptor)
            raise
        if not locked:
            os.close(descriptor)
            raise in_use(self.path)
        return descriptor

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        atomic.unguard(self.path)
        os.close(self._descriptor)  # closing releases


def share(path: Path) -> None:
    """Hold a file until this process ends, together with others: `is_locked(path, shared=True)` then says so."""
    with contextlib.suppress(OSError):  # a file system without locks
        fcntl.flock(open_lock(path, os.O_RDONLY), fcntl.LOCK_SH | fcntl.LOCK_NB)


def is_locked(path: Path, *, shared: bool = False) -> bool:
    """Whether a live process holds the lock; with `shared`, also one that shares it."""
    try:
        descriptor = open_lock(path, os.O_RDONLY)
    except (FileNotFoundError, RefusedError):  # what is no file cannot be held
        return False
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if shared else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(descriptor)
    return False


def read_holder(path: Path) -> Holder | None:
    """What the holder of a lock, or its last one, has written into it; None when that cannot be read."""
    from codctl.files import records as files

    try:
        return reader.read(path, files.Holder)
    except CodctlError:
        return None


def in_use(path: Path) -> RefusedError:
    """The error for a run that another process uses."""
    return RefusedError(
        f"the run is in use by {_holder(path)}",
        where=str(path.parent),
        hint="wait for it or stop it, or use another name with --name OTHER",
    )


def open_lock(path: Path, flags: int) -> int:
    """Open a lock file, which is never a link: what it leads to would be overwritten.

    Raises:
        RefusedError: It is no regular file.
        OSError: It cannot be opened.
    """
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise _not_a_lock(path) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _not_a_lock(path)
    return descriptor


def _not_a_lock(path: Path) -> RefusedError:
    return RefusedError(f"{path.name} is not a regular file", where=str(path), hint=f"rm -r {shlex.quote(str(path))}")


def try_lock(descriptor: int, path: Path, patience_s: float = 0.0) -> bool:
    """Lock an open file; False when another process holds it for longer than one is ready to wait.

    Raises:
        PreflightError: The file system cannot lock, as some network file systems.
    """
    end_s = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= end_s:
                return False
            time.sleep(_PAUSE_S)
        except OSError as error:
            raise PreflightError(
                f"cannot lock: {error.strerror}", where=str(path), hint="choose another disk with --runs-dir DIR"
            ) from error


@contextlib.contextmanager
def holding(path: Path, patience_s: float = 0.0) -> Iterator[bool]:
    """Lock a file, which is made; yields False when another process does not give it back in time."""
    with atomic.storage_errors(path):
        descriptor = open_lock(path, os.O_RDWR | os.O_CREAT)
    try:
        yield try_lock(descriptor, path, patience_s)
    finally:
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is still the one with this name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except (FileNotFoundError, NotADirectoryError):
        return False


def _holder(path: Path) -> str:
    # A process that got the lock this moment has not written its name yet.
    for attempt in range(_ATTEMPTS):
        content = read_holder(path)
        if content and (
            content["host"] != socket.gethostname() or is_alive(content["pid"]) or attempt == _ATTEMPTS - 1
        ):
            return f"process {content['pid']} on {content['host']}"
        time.sleep(_PAUSE_S)
    return "another process"
