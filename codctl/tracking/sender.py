"""The process that mirrors a run to MLflow while it trains: `python -m codctl.tracking.sender RUN_DIR`.

A process of its own, because MLflow's imports, tables and waits would otherwise take time from the steps. It looks at
the run's files, and reads one line from its parent: how the run ended. When the parent dies without a word, the run is
marked as killed. On stdout it says what is wrong.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from codctl.files import atomic, lock
from codctl.runs.directory import RunDirectory
from codctl.tracking import server
from codctl.tracking.identity import settle
from codctl.tracking.push import Push, tracking_of

LOCK = "mlflow.lock"
_POLL_S = 1.0
_SEND_EVERY_S = 3.0
_RETRY_S = 20.0
_LAST_WORDS_S = 15
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class Sender:
    """Sends what is new every few seconds, until the parent says how the run ended.

    Args:
        run: The run.
        tell: Where what is wrong goes; empty once nothing is.
    """

    def __init__(self, run: RunDirectory, tell: Callable[[str], None]) -> None:
        self._run, self._tell = run, tell
        self._push: Push | None = None
        self._retry_at_s = 0.0
        self._is_in_trouble = False

    def work(self) -> bool:
        """Returns whether all was sent at the end."""
        while (ending := _wait(_SEND_EVERY_S)) is None:
            if time.monotonic() >= self._retry_at_s:
                self._try()
        if ending == "died":
            signal.alarm(_LAST_WORDS_S)  # nobody waits any more
        return self._try(ending)

    def _try(self, ending: str = "") -> bool:
        try:
            push = self._attached()
            if ending:
                push.everything(ending)
                push.close()
            else:
                push.params()
                push.points()
                push.evaluations()
        except Exception as error:  # noqa: BLE001  whatever it is, the run matters more
            self._push = None
            self._retry_at_s = time.monotonic() + _RETRY_S
            self._tell(f"is not available ({server.first_line(error)})")
            self._is_in_trouble = True
            return False
        if self._is_in_trouble:
            self._tell("")
        self._is_in_trouble = False
        return True

    def _attached(self) -> Push:
        if self._push is None:
            identity, _ = settle(self._run.path, tracking_of(self._run), self._run.root)
            client = server.connect(identity.uri, self._run.root, timeout_s=server.MIRROR_TIMEOUT_S)
            push = Push(self._run, lambda: client)
            push.attach("running")
            self._push = push
        return self._push


@contextlib.contextmanager
def sending(run: Path) -> Iterator[bool]:
    """Be the only one who sends a run; yields False when somebody else does."""
    path = run / LOCK
    with atomic.storage_errors(path):
        descriptor = lock.open_lock(path, os.O_RDWR | os.O_CREAT)
    try:
        yield lock.try_lock(descriptor, path)
    finally:
        os.close(descriptor)


def main(argv: list[str]) -> int:
    for number in _IGNORED:  # they reach the whole group; the parent decides
        signal.signal(number, signal.SIG_IGN)
    tell = _teller()
    run = RunDirectory.open(Path(argv[0]))
    while True:
        with sending(run.path) as is_alone:
            if is_alone:
                return 0 if Sender(run, tell).work() else 1
        if _wait(_POLL_S) is not None:
            return 1  # the run ended before whoever sends it now (a sync, an attempt that died) was done


def _wait(timeout_s: float) -> str | None:
    """How the run ended, as soon as the parent says so or dies."""
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
        if not selector.select(timeout_s):
            return None
    return os.read(sys.stdin.fileno(), 100).decode().strip() or "died"


def _teller() -> Callable[[str], None]:
    """A way to the parent that is ours alone: libraries print on stdout, too."""
    descriptor = os.dup(sys.stdout.fileno())
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())

    def tell(text: str) -> None:
        with contextlib.suppress(OSError):
            os.write(descriptor, (text + "\n").encode())

    return tell


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
