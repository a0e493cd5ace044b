"""The run's side of the MLflow mirror: starts the process that sends, again if it dies, and reports its trouble."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import codctl
from codctl.log import log

_FINISH_DEADLINE_S = 15.0
_STOP_DEADLINE_S = 5.0  # stopping a run waits for it
_RESTART_AFTER_S = (1.0, 10.0, 60.0)  # then it stays dead


class Mirror:
    """Mirrors a run from its files, in a process of its own, until `finish`.

    A sender that dies (the kernel kills processes when memory runs out) is started again three times.

    Args:
        run: The run's folder.
        title: What to call the run on a command line.
        report: Takes what is wrong at the moment, for `codctl status`; empty when nothing is.
    """

    def __init__(self, run: Path, title: str, report: Callable[[str], None] = lambda _: None) -> None:
        self._run, self._title, self._report, self._warned = run, title, report, False
        self._ending, self._lock = threading.Event(), threading.Lock()
        self._process: subprocess.Popen[bytes] | None = self._start()
        self._watcher: threading.Thread | None = None
        if self._process is not None:
            self._watcher = threading.Thread(target=self._watch, name="mlflow-mirror", daemon=True)
            self._watcher.start()

    def finish(self, status: str, *, deadline_s: float | None = None) -> None:
        """Let the rest and the status be sent, but wait no longer than the deadline.

        Args:
            status: finished, failed, interrupted, cancelled or paused.
            deadline_s: Then what is missing is left to `codctl sync`; seconds, fewer for a run that was stopped.
        """
        if deadline_s is None:
            deadline_s = _FINISH_DEADLINE_S if status in ("finished", "failed") else _STOP_DEADLINE_S
        with self._lock:
            self._ending.set()
            process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin
        assert process.stdout
        try:
            with contextlib.suppress(OSError):
                process.stdin.write(f"{status}\n".encode())
                process.stdin.close()
            if process.wait(deadline_s):
                self._warn("did not receive the last numbers")
        except subprocess.TimeoutExpired:
            self._warn(f"did not finish within {deadline_s:g} s")
        finally:
            process.kill()
            process.wait()
            if self._watcher is not None:
                self._watcher.join()
            process.stdout.close()

    def _start(self) -> subprocess.Popen[bytes] | None:
        try:
            return start("codctl.tracking.sender", [str(self._run)])
        except OSError as error:
            self._warn(f"gets no numbers: the process that sends them cannot be started ({error})")
            return None

    def _watch(self) -> None:
        """Pass on what the sender says; start it again when it dies before the run ends."""
        for pause_s in (*_RESTART_AFTER_S, None):
            process = self._process
            if process is None:
                return
            assert process.stdout
            for line in process.stdout:
                self._hear(line.decode(errors="replace").strip())
            code = process.wait()
            if self._ending.is_set():
                return
            if pause_s is None:
                with self._lock:
                    if not self._ending.is_set():
                        _close(process)
                        self._process = None
                self._warn(f"gets no more numbers: the process that sends them {_how(code)} again")
                return
            log.warning("the process that sends to MLflow %s; starting it again", _how(code))
            if self._ending.wait(pause_s):
                return
            with self._lock:
                if self._ending.is_set():
                    return
                _close(process)
                self._process = self._start()

    def _hear(self, trouble: str) -> None:
        if trouble:
            self._warn(trouble)
        else:
            self._report("")

    def _warn(self, what: str) -> None:
        self._report(f"MLflow {what}")
        if not self._warned:
            self._warned = True
            log.warning("MLflow %s. Nothing is lost: `codctl sync %s` sends the rest", what, self._title)


def start(module: str, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    """A Python process with this codctl, and pipes to it."""
    home = str(Path(codctl.__file__).resolve().parents[1])
    path = os.pathsep.join([home, *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(  # noqa: S603  our own module
        [sys.executable, "-W", "ignore", "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"},
    )


def _how(code: int) -> str:
    """How a process ended."""
    if code >= 0:
        return f"ended with code {code}"
    with contextlib.suppress(ValueError):
        return f"was killed by {signal.Signals(-code).name}"
    return f"was killed by signal {-code}"


def _close(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
