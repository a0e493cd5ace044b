"""One attempt at a run: its record, its log file, its sign of life, and the signals that end it in good order.

`attempts/<n>/attempt.json` has one writer, the attempt itself. An attempt that was killed stays `running` in its own
file; readers, who can see that the run's lock is free, call it `died`. Stdlib only.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shlex
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.errors import CodctlError, out_of_memory
from codctl.files import atomic, lock, reader
from codctl.log import Lines, log
from codctl.runs import manifest, signals, stop
from codctl.runs.layout import Layout
from codctl.runs.signals import Terminated

if TYPE_CHECKING:
    from codctl.files.records import Attempt, Environment

_FILE = "attempt.json"
_NUMBER = re.compile(r"[0-9]{3,6}")


def folder(run: Path, number: int) -> Path:
    return Layout(run).attempt(number)


def count(run: Path) -> int:
    """How many attempts there were; the folder with the highest number counts, also without a record."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return max(
            (int(entry.name) for entry in os.scandir(run / "attempts") if _NUMBER.fullmatch(entry.name)), default=0
        )
    return 0


def read(run: Path, number: int) -> Attempt:
    """The record of an attempt; one that was killed before it could write a word says so.

    Raises:
        UsageError: It is damaged.
    """
    from codctl.files import records as files

    path = folder(run, number) / _FILE
    unknown: Attempt = {
        "number": number,
        "started": None,
        "ended": None,
        "seconds": None,
        "outcome": "running",
        "message": "",
    }
    hint = f"rm {shlex.quote(str(path))}"
    return reader.read(path, files.Attempt, defaults=unknown, within=run, hint=hint) or unknown


def environment(run: Path, number: int) -> Environment | None:
    """What an attempt ran in, as far as it was written down. It informs only: a damaged file says nothing."""
    from codctl.files import records as files

    with contextlib.suppress(CodctlError):
        return reader.read(folder(run, number) / "environment.json", files.Environment, within=run)
    return None


@contextlib.contextmanager
def recorded(run: Path, number: int, about: Mapping[str, Any]) -> Iterator[None]:
    """Log to a file and show signs of life while the block runs, then write how it ended.

    Args:
        run: The run's folder.
        number: Of the attempt, counted from 1.
        about: What else its record shall hold.
    """
    place = folder(run, number)
    with atomic.storage_errors(place):
        place.mkdir(parents=True, exist_ok=True)
    record = {
        "number": number,
        "started": manifest.now(),
        "ended": None,
        "seconds": None,
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "outcome": "running",
        "message": "",
        **about,
    }
    started_s, outcome, message = time.monotonic(), "failed", ""
    with signals.raised(), _log_file(place / "log.txt") as handler:
        try:
            atomic.write_json(place / _FILE, record)  # its readers may send a signal at once
            _note(handler, f"started as process {os.getpid()} on {socket.gethostname()}")
            yield
            outcome = "finished"
            _note(handler, "finished")
        except stop.Stopped as request:
            outcome, message = request.outcome, request.message
            _note(handler, message)
            raise
        except lock.MovedError as moved:
            outcome, message = "interrupted", moved.message
            place = folder(moved.found, number) if moved.found else place
            _note(handler, message)
            raise
        except (KeyboardInterrupt, Terminated) as signalled:
            outcome = "interrupted"
            message = "interrupted by a signal" if isinstance(signalled, Terminated) else "interrupted by Ctrl-C"
            _note(handler, message)
            raise
        except BaseException as error:
            message = _in_short(error)
            _note(handler, "failed", error)
            raise
        finally:
            ended = {"ended": manifest.now(), "seconds": round(time.monotonic() - started_s, 3)}
            with signals.blocked():
                _record(place / _FILE, {**record, **ended, "outcome": outcome, "message": message})


def _record(path: Path, content: Mapping[str, Any]) -> None:
    try:
        atomic.write_json(path, content)
    except lock.MovedError:
        pass  # it has ended the attempt, or will
    except CodctlError as error:
        # Raising here would hide why the attempt ended. The run then shows as died, which is true enough.
        log.warning("could not record that the run is %s: %s (%s)", content["outcome"], error.message, error.where)
        if content["outcome"] == "finished":
            raise


def _in_short(error: BaseException) -> str:
    known = error if isinstance(error, CodctlError) else out_of_memory(error)
    text = known.message if known else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:500]


def _note(handler: logging.Handler, message: str, error: BaseException | None = None) -> None:
    """Write to the log file alone: the terminal gets the error from its caller."""
    details = (type(error), error, error.__traceback__) if error is not None else None
    handler.handle(log.makeRecord(log.name, logging.INFO, __file__, 0, message, (), details))


class _QuietFileHandler(logging.FileHandler):
    """A log that cannot be written (disk full) must not print tracebacks over the real message."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  the base class's name
        pass


@contextlib.contextmanager
def _log_file(path: Path) -> Iterator[logging.Handler]:
    with atomic.storage_errors(path):
        handler = _QuietFileHandler(path, encoding="utf-8", errors="replace")
    handler.setFormatter(Lines())
    level = log.level
    if log.getEffectiveLevel() > logging.INFO:
        log.setLevel(logging.INFO)
    log.addHandler(handler)
    try:
        yield handler
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        with contextlib.suppress(OSError):
            handler.close()
