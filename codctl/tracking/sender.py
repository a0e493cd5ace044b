"""The process beside a run that sends its numbers to one tracker: `python -m codctl.tracking.sender RUN_DIR TRACKER`.

A process of its own, because a tracker's imports and waits would otherwise take time from the steps, and its crash the
run. It looks at the run's files, and reads one line from its parent: how the run ended. When the parent dies without a
word, the run is marked as died. On stdout it says what is wrong, and an empty line once nothing is.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

from codctl.config.credentials import redacted
from codctl.errors import CodctlError
from codctl.log import log
from codctl.processes import python_environment, signal_name
from codctl.runs.directory import RunDirectory
from codctl.tracking import sinks
from codctl.tracking.sink import Status
from codctl.tracking.state import sending

_FINISH_DEADLINE_S = 15.0
_STOP_DEADLINE_S = 5.0  # stopping a run waits for it
_RESTART_AFTER_S = (1.0, 10.0, 60.0)  # then it stays dead
_POLL_S = 1.0
_SEND_EVERY_S = 3.0
_RETRY_S = 20.0
_PATIENCE_S = 120  # of one call of a tracker; then SIGALRM ends the process
_LAST_WORDS_S = 15
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_LONGEST = 160  # characters of an error; what some wrap in it goes on for lines


class Sender:
    """Has a run sent to a tracker, by a process that is started again three times if it dies, until `end`.

    Args:
        run: The run's folder.
        title: What to call the run on a command line.
        tracker: Its name.
        report: Takes what is wrong at the moment, for `codctl status`; empty when nothing is.
    """

    def __init__(self, run: Path, title: str, tracker: str, report: Callable[[str], None] = lambda _: None) -> None:
        self._run, self._title, self._tracker, self._report = run, title, tracker, report
        self._ending, self._lock, self._has_warned = threading.Event(), threading.Lock(), False
        self._process = self._start()
        self._watcher = threading.Thread(target=self._watch, name=f"{tracker}-sender", daemon=True)
        self._watcher.start()

    def end(self, status: str, *, deadline_s: float | None = None) -> None:
        """Have the rest and the status sent; `wait` waits for it.

        Args:
            status: finished, failed, interrupted, cancelled or paused.
            deadline_s: Then what is missing is left to `codctl sync`; seconds, fewer for a run that was stopped.
        """
        if deadline_s is None:
            deadline_s = _FINISH_DEADLINE_S if status in ("finished", "failed") else _STOP_DEADLINE_S
        self._given_s, self._ends_s = deadline_s, time.monotonic() + deadline_s
        with self._lock:
            self._ending.set()
            process = self._process
        if process is not None and process.stdin is not None:
            with contextlib.suppress(OSError, ValueError):  # it is dead, or its pipes were closed
                process.stdin.write(f"{status}\n".encode())
                process.stdin.close()

    def wait(self) -> None:
        """Wait until all is sent or the deadline has passed."""
        if self._process is None:
            return
        try:
            code = self._process.wait(max(0.0, self._ends_s - time.monotonic()))
            self._watcher.join()  # it may have said why
            if code:
                self._warn("did not receive the last numbers")
        except subprocess.TimeoutExpired:
            self._warn(f"did not finish within {self._given_s:g} s")
            self._process.kill()
            self._watcher.join()

    def _start(self) -> subprocess.Popen[bytes] | None:
        try:
            return start("codctl.tracking.sender", str(self._run), self._tracker)
        except OSError as error:
            self._warn(f"gets no numbers: the process that sends them cannot be started ({error})")
            return None

    def _watch(self) -> None:
        """Pass on what the process says; start it again when it dies before the run ends."""
        for pause_s in (*_RESTART_AFTER_S, None):
            process = self._process
            if process is None:
                return
            with process:  # closes its pipes
                assert process.stdout
                for line in process.stdout:
                    trouble = line.decode(errors="replace").strip()
                    self._warn(trouble) if trouble else self._report("")
                code = process.wait()
            if self._ending.is_set():
                return
            if pause_s is None:
                with self._lock:
                    if not self._ending.is_set():
                        self._process = None
                self._warn(f"gets no more numbers: the process that sends them {_how(code)} again")
                return
            log.warning("the process that sends to %s %s; starting it again", sinks.title(self._tracker), _how(code))
            if self._ending.wait(pause_s):
                return
            with self._lock:
                if self._ending.is_set():
                    return
                self._process = self._start()

    def _warn(self, what: str) -> None:
        what = f"{sinks.title(self._tracker)} {what}"
        self._report(what)
        if not self._has_warned:
            self._has_warned = True
            log.warning("%s. Nothing is lost: `codctl sync %s` sends the rest", what, self._title)


def start(module: str, *arguments: str) -> subprocess.Popen[bytes]:
    """A Python process with this codctl, and pipes to it."""
    return subprocess.Popen(  # noqa: S603  our own module
        [sys.executable, "-W", "ignore", "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=python_environment(),
    )


def _how(code: int) -> str:
    """How a process ended."""
    if code == -signal.SIGALRM:
        return f"waited longer than {_PATIENCE_S} s for it"
    return f"ended with code {code}" if code >= 0 else f"was killed by {signal_name(-code) or f'signal {-code}'}"


def first_line(error: Exception) -> str:
    """An error in one line, without credentials."""
    lines = str(error).strip().splitlines()
    if isinstance(error, CodctlError) and lines:
        return redacted(lines[0])
    text = redacted(f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def main(argv: list[str]) -> int:
    """The process itself: sends what is new every few seconds, until the parent says how the run ended."""
    for number in _IGNORED:  # they reach the whole group; the parent decides
        signal.signal(number, signal.SIG_IGN)
    say = _way_to_parent()
    run, tracker = RunDirectory.open(Path(argv[0])), argv[1]
    while True:
        with sending(run.path, tracker) as is_alone:
            if is_alone:
                return 0 if _work(run, tracker, say) else 1
        if _ending_within(_POLL_S) is not None:
            return 1  # the run ended before the one who sends it now (a sync, an attempt that died) was done


def _work(run: RunDirectory, tracker: str, say: Callable[[str], None]) -> bool:
    """Returns whether all was sent at the end."""
    from codctl.tracking.feed import Feed

    feed: Feed | None = None
    retry_at_s, is_in_trouble = 0.0, False
    while True:
        ending = _ending_within(_SEND_EVERY_S)
        if ending is None and time.monotonic() < retry_at_s:
            continue
        patience_s = _LAST_WORDS_S if ending == "died" else _PATIENCE_S  # no process waits any more
        signal.alarm(patience_s)
        try:
            if feed is None:
                feed = Feed(run, tracker)
                feed.attach()
                feed.status("running")
            feed.check = partial(signal.alarm, patience_s)
            if ending is not None:
                feed.everything(cast("Status", ending))
                return True
            feed.numbers()
        except Exception as error:  # noqa: BLE001  whatever it is, the run matters more
            feed, retry_at_s, is_in_trouble = None, time.monotonic() + _RETRY_S, True
            say(f"is not available ({first_line(error)})")
            if ending is not None:
                return False
        else:
            if is_in_trouble:
                say("")
            is_in_trouble = False
        signal.alarm(0)


def _ending_within(timeout_s: float) -> str | None:
    """How the run ended, as soon as the parent says so or dies."""
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
        if not selector.select(timeout_s):
            return None
    return os.read(sys.stdin.fileno(), 100).decode().strip() or "died"


def _way_to_parent() -> Callable[[str], None]:
    """Ours alone: libraries print on stdout, too."""
    descriptor = os.dup(sys.stdout.fileno())
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())

    def say(text: str) -> None:
        with contextlib.suppress(OSError):
            os.write(descriptor, (text + "\n").encode())

    return say


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
