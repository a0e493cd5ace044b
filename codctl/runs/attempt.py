"""One attempt at a run: its log file, the signals that end it in an orderly way, and the recorded outcome."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from codctl.errors import CodctlError
from codctl.runs import atomic, manifest

log = logging.getLogger("codctl")

_STOPS = (signal.SIGTERM, signal.SIGHUP)


class Terminated(SystemExit):
    """SIGTERM or SIGHUP arrived. A SystemExit, so that nothing on the way mistakes it for a failure."""


@contextlib.contextmanager
def recorded(manifest_path: Path, log_path: Path) -> Iterator[None]:
    """Log to a file while the block runs, then write how it ended into the manifest."""
    outcome = "failed"
    with _log_file(log_path) as handler, _stops_raise():
        _note(handler, f"started as process {os.getpid()} on {socket.gethostname()}")
        try:
            yield
            outcome = "finished"
            _note(handler, "finished")
        except (KeyboardInterrupt, Terminated) as stop:
            outcome = "interrupted"
            _note(handler, "interrupted by a signal" if isinstance(stop, Terminated) else "interrupted by Ctrl-C")
            raise
        except BaseException as error:
            _note(handler, "failed", error)
            raise
        finally:
            _record(manifest_path, outcome)


def _record(manifest_path: Path, outcome: str) -> None:
    try:
        manifest.end_attempt(manifest_path, outcome)
    except CodctlError as error:
        # Raising here would hide why the attempt ended. The run then shows as died, which is true enough.
        log.warning("could not record that the run is %s: %s (%s)", outcome, error.message, error.where)
        if outcome == "finished":
            raise


def _note(handler: logging.Handler, message: str, error: BaseException | None = None) -> None:
    """Write to the log file alone: the terminal gets the error from whoever catches it."""
    details = (type(error), error, error.__traceback__) if error is not None else None
    handler.handle(log.makeRecord(log.name, logging.INFO, __file__, 0, message, (), details))


class _QuietFileHandler(logging.FileHandler):
    """A log that cannot be written (disk full) must not print tracebacks over the real message."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  the base class's name
        pass


@contextlib.contextmanager
def _log_file(path: Path) -> Iterator[logging.Handler]:
    with atomic.storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = _QuietFileHandler(path, encoding="utf-8", errors="replace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
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


@contextlib.contextmanager
def _stops_raise() -> Iterator[None]:
    """Make a polite request to stop raise in the main thread, unless the caller (nohup, a supervisor) handles it."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise Terminated(128 + number)

    replaced = []
    if threading.current_thread() is threading.main_thread():
        replaced = [number for number in _STOPS if signal.getsignal(number) is signal.SIG_DFL]
    for number in replaced:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in replaced:
            signal.signal(number, signal.SIG_DFL)
