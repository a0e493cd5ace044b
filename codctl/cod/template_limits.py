"""Limits on a chat template: it is a small program that came with a model, and may never end or write without end.

Jinja's sandbox keeps a template from files and from Python's internals, not from loops. The time limit counts CPU time,
so that a busy machine refuses no template. Only the main thread gets the timer's signal: other threads have no limit.
"""

from __future__ import annotations

import contextlib
import resource
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

LONGEST_S = 10.0  # of computing, for one conversation; ordinary templates take a millisecond
MOST_MEMORY = 512 << 20  # while it is tried out, before a model is loaded
MOST_TEXT = 200_000  # characters beside those of the messages


class OverTimeError(Exception):
    """A template has used up its time."""


@contextlib.contextmanager
def time_limit() -> Iterator[None]:
    """Raise OverTimeError in the block after LONGEST_S of computing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(signum: int, frame: FrameType | None) -> None:
        raise OverTimeError

    before = signal.signal(signal.SIGVTALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, LONGEST_S)
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before or signal.SIG_DFL)


@contextlib.contextmanager
def memory_limit() -> Iterator[None]:
    """Let the process take only MOST_MEMORY more; MemoryError beyond. For a moment when nothing else is loaded."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (OSError, ValueError):  # not Linux
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = pages * resource.getpagesize() + MOST_MEMORY
    if soft != resource.RLIM_INFINITY and soft <= wanted:
        yield
        return
    resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
