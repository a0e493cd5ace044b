"""A running attempt's sign of life: a small file, written again every few seconds by a thread. Stdlib only.

It informs ("last sign of life 12 s ago") and helps where locks cannot be seen from another machine. A clock may jump,
so the counter tells whether it still beats, and the time only how long ago it seemed to.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.errors import CodctlError
from codctl.files import atomic, lock, reader
from codctl.runs import manifest, signals

if TYPE_CHECKING:
    from codctl.files.records import Heartbeat

EVERY_S = 10.0
_AGAIN_S = 1.0
_FILE = "heartbeat.json"


class Beat:
    """What a heartbeat says beside that it beats.

    Attributes:
        doing: What the attempt does at the moment: phase, done, total, left_s.
        trouble: What is wrong beside the work; empty when nothing is.
    """

    def __init__(self) -> None:
        self.doing: Callable[[], dict[str, Any] | None] = lambda: None
        self.trouble = ""
        self._wake, self._ended = threading.Event(), False

    def now(self) -> None:
        """Beat without waiting: there is news."""
        self._wake.set()

    def end(self) -> None:
        self._ended = True
        self._wake.set()

    def wait(self, timeout_s: float) -> bool:
        """Until the next beat; whether there is none."""
        self._wake.wait(timeout_s)
        self._wake.clear()
        return self._ended


@contextlib.contextmanager
def beating(run: Path, attempt: int, every_s: float = EVERY_S) -> Iterator[Beat]:
    """Beat while the block runs. A beat that cannot be written (disk full) is left out.

    When the run's folder was moved away, the main thread is interrupted, and there are no more beats.
    """
    news = Beat()

    def beat() -> None:
        number = 0
        while True:
            content = {
                "attempt": attempt,
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "beat": number,
                "at": manifest.now(),
                "every_s": every_s,
                "doing": news.doing(),
                "trouble": news.trouble,
            }
            try:
                atomic.write_json(run / _FILE, content, durable=False)
            except lock.MovedError:
                signals.interrupt()
                while not news.wait(_AGAIN_S):  # a signal that comes just before a system call does not interrupt it
                    signals.interrupt()
                return
            except (CodctlError, OSError):
                pass
            number += 1
            if news.wait(every_s):
                return

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield news
    finally:
        news.end()
        thread.join()


def read(run: Path) -> Heartbeat | None:
    """The last beat, if there was one. A damaged one says nothing, and the next is written in a moment."""
    from codctl.files import records as files

    with contextlib.suppress(CodctlError):
        return reader.read(run / _FILE, files.Heartbeat)
    return None
