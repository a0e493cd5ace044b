"""Signals that ask a process to end: at once, or after what it has learned is saved. Stdlib only."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

STOPS = (signal.SIGTERM, signal.SIGHUP)
SAVE_S = 60.0  # for a step to end and be saved
_SAVE_IN_JOB_S = 20.0  # SLURM kills a job 30 s after it has asked it to end (KillWait)


class Terminated(SystemExit):
    """SIGTERM or SIGHUP arrived. A SystemExit, so that nothing on the way mistakes it for a failure."""


def named(number: int) -> str:
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name


class _AtOnce:
    """Raises in the main thread, once: a second signal must not disturb the good order. SIGKILL is always possible."""

    def __init__(self) -> None:
        self._raised = False

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        if not self._raised:
            self._raised = True
            raise Terminated(128 + number)


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise while the block runs, unless the caller (nohup, a supervisor) handles them."""
    with _handled([number for number in STOPS if signal.getsignal(number) is signal.SIG_DFL], _AtOnce()):
        yield


def interrupt() -> None:
    """Let the main thread stop at once, as SIGTERM would, where `raised` or `saved_first` handle that."""
    main = threading.main_thread().ident
    if callable(signal.getsignal(signal.SIGTERM)) and main is not None:
        signal.pthread_kill(main, signal.SIGTERM)


class Asked:
    """Whether a signal has asked the block to end.

    Args:
        has_request: Whether a stop was asked for in another way; then a signal means that it takes too long.
        say: Called from another thread with what happens now.
        deadline_s: How long after the first signal the block may go on.
    """

    def __init__(self, has_request: Callable[[], bool], say: Callable[[str], None], deadline_s: float) -> None:
        self.number: int | None = None
        self._has_request, self._say, self._deadline_s = has_request, say, deadline_s
        self._is_over = threading.Event()
        self._end = _AtOnce()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.number is None and not self._has_request():
            self.number = number
            threading.Thread(target=self._await, args=[number], name="deadline", daemon=True).start()
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            self._end(number, frame)

    def take_time(self) -> None:
        """The deadline no longer counts: what it was for is being saved. A second signal still ends it."""
        self._is_over.set()

    def _await(self, number: int) -> None:
        again = "again" if number == signal.SIGINT else "once more"
        self._say(
            f"{named(number)}: finishing the step and saving a checkpoint, within {self._deadline_s:.0f} s; "
            f"{named(number)} {again} ends it at once"
        )
        if not self._is_over.wait(self._deadline_s):
            os.kill(os.getpid(), number)


@contextlib.contextmanager
def saved_first(
    has_request: Callable[[], bool], say: Callable[[str], None], deadline_s: float | None = None
) -> Iterator[Asked]:
    """Let the first Ctrl-C, SIGTERM or SIGHUP only ask while the block runs; a second, or the deadline, raises.

    Signals with another handler, or that are ignored, stay as they are.

    Args:
        has_request: See `Asked`.
        say: See `Asked`.
        deadline_s: See `Asked`; 60 s, in a SLURM job 20 s, by default.
    """
    usual_s = _SAVE_IN_JOB_S if "SLURM_JOB_ID" in os.environ else SAVE_S
    asked = Asked(has_request, say, usual_s if deadline_s is None else deadline_s)
    found = {number: signal.getsignal(number) for number in (signal.SIGINT, *STOPS)}
    ours = [
        number
        for number, handler in found.items()
        if handler in (signal.SIG_DFL, signal.default_int_handler) or isinstance(handler, _AtOnce)
    ]
    with _handled(ours, asked):
        try:
            yield asked
        finally:
            asked.take_time()


@contextlib.contextmanager
def blocked() -> Iterator[None]:
    """Block SIGINT, SIGTERM and SIGHUP while the outcome of an attempt is written."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, *STOPS})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _handled(numbers: list[signal.Signals], handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only the main thread may, and signals reach only it
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
