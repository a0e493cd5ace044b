"""Read a run's logs, also while they grow and from one attempt to the next. Stdlib only."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from codctl.errors import UsageError
from codctl.runs.directory import RunDirectory
from codctl.runs.own_jobs import jobs_of

_POLL_S = 0.5
WORKER_LOG = "worker.log"  # in a run's folder: what its worker printed, also before its own log began
_MOST_BYTES = 64 << 20  # the end of a longer log is shown
_LINE_BYTES = 1 << 16  # the start of a longer line
_COMING = ("queued", "paused", "running")


def read_logs(
    run: RunDirectory,
    attempt: int | None = None,
    *,
    follow: bool = False,
    status: Callable[[], str] | None = None,
    say: Callable[[str], None] = lambda _: None,
    poll_s: float = _POLL_S,
) -> Iterator[str]:
    """Yield the log's lines; with `follow` wait for more until the run has ended, also in its next attempts.

    Args:
        run: The run.
        attempt: Counted from 1; the last by default. One that is named is followed only to its own end.
        follow: Wait.
        status: How the run stands, also by its scheduler; from its files alone by default.
        say: Told what is waited for.
        poll_s: Between two looks.

    Raises:
        UsageError: There is no such attempt, or nothing to read.
    """
    ask = status or run.status
    number = attempt or _newest(run)
    if number == 0 and follow and ask() in _COMING:
        said = ask()
        say(f"run {run.title!r} is {'starting' if said == 'running' else said}: waiting for its first attempt")
        while number == 0 and ask() in _COMING:
            time.sleep(poll_s)
            number = _newest(run)
    yield from _lines(run, number, follow, ask, poll_s)
    while follow and attempt is None:
        later = _next(run, number, ask, say, poll_s)
        if not later:
            return
        say(f"attempt {later}")
        number = later
        yield from _lines(run, number, follow, ask, poll_s)


def find_log(run: RunDirectory, number: int) -> Path:
    """The log of an attempt; without one, what its worker said before it could open a log.

    Raises:
        UsageError: There is no such attempt, or it left nothing.
    """
    newest = _newest(run)
    if number > newest:
        raise UsageError(f"run {run.title!r} has no attempt {number} (it has 1 to {newest})")
    if number and run.log_path(number).is_file():
        return run.log_path(number)
    for path in [run.path / WORKER_LOG, *_of_jobs(run)]:
        if path.is_file() and path.stat().st_size:
            return path
    if number == 0:
        raise UsageError(f"run {run.title!r} has not been started yet", where=str(run.path))
    raise UsageError(f"attempt {number} of run {run.title!r} has no log", where=str(run.log_path(number)))


class _Tail:
    """The lines of a file that grows, within bounds. One that is cut or replaced is read from its beginning."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identity: tuple[int, int] | None = None
        self._position = 0
        self._rest, self._left_out = b"", 0

    def lines(self, *, all_of_it: bool) -> Iterator[str]:
        """Those that came since the last call; an unfinished one only when nothing follows any more."""
        try:
            file = self._path.open("rb")
        except OSError:
            return
        with file:
            about = self._path.stat()
            identity = (about.st_dev, about.st_ino)
            if identity != self._identity or about.st_size < self._position:
                self._identity, self._rest, self._left_out = identity, b"", 0
                self._position = max(0, about.st_size - _MOST_BYTES)
                if self._position:
                    yield f"[{self._path} has {about.st_size} bytes: the last {_MOST_BYTES} are shown]"
            file.seek(self._position)
            while piece := file.readline(_LINE_BYTES):
                self._position += len(piece)
                taken = piece[: _LINE_BYTES - len(self._rest)]
                self._rest += taken
                self._left_out += len(piece) - len(taken)
                if piece.endswith(b"\n"):
                    yield self._text()
        if all_of_it and self._rest:
            yield self._text()

    def _text(self) -> str:
        text = self._rest.decode("utf-8", "replace").rstrip("\r\n")
        left_out = f" [and {self._left_out} more bytes]" if self._left_out else ""
        self._rest, self._left_out = b"", 0
        return text + left_out


def _lines(run: RunDirectory, number: int, follow: bool, ask: Callable[[], str], poll_s: float) -> Iterator[str]:
    path = find_log(run, number)
    tail = _Tail(path)
    while True:
        grows = follow and _newest(run) == number and ask() == "running"  # before reading: nothing may be missed
        if follow and find_log(run, number) != path:  # its own log has begun
            yield from tail.lines(all_of_it=True)
            path = find_log(run, number)
            tail = _Tail(path)
        yield from tail.lines(all_of_it=not grows)
        if not grows:
            return
        time.sleep(poll_s)


def _next(
    run: RunDirectory, number: int, ask: Callable[[], str], say: Callable[[str], None], poll_s: float
) -> int | None:
    """The attempt after `number`; None when the run ends without one."""
    said = False
    while _newest(run) == number:
        status = ask()
        if status not in _COMING:
            return None
        if not said and status != "running":
            say(f"attempt {number} has ended, run {run.title!r} is {status}: waiting for the next attempt")
            said = True
        time.sleep(poll_s)
    return number + 1


def _newest(run: RunDirectory) -> int:
    from codctl.runs.attempt import count

    return count(run.path)


def _of_jobs(run: RunDirectory) -> list[Path]:
    """What the scheduler wrote for the jobs of the run, the newest first."""
    return [
        path
        for job in reversed(jobs_of(run.path))
        for folder in job.folders
        for path in sorted(folder.glob(f"{job.id}_*_log.out"))
    ]
