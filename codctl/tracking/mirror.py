"""The run's side of the MLflow mirror: starts the process that sends, and passes on its one warning."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import codctl
from codctl.log import log

_FINISH_DEADLINE_S = 15.0
_STOP_DEADLINE_S = 5.0  # whoever stops a run waits for it


class Mirror:
    """Mirrors a run from its files, in a process of its own, until `finish`.

    Args:
        run: The run's folder.
        title: What to call the run on a command line.
    """

    def __init__(self, run: Path, title: str) -> None:
        self._title, self._warned = title, False
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._process = start("codctl.tracking.sender", [str(run)])
        except OSError as error:
            self._warn(f"cannot be started ({error})")
            return
        self._listener = threading.Thread(target=self._listen, args=[self._process], name="mlflow-mirror", daemon=True)
        self._listener.start()

    def finish(self, status: str, *, deadline_s: float | None = None) -> None:
        """Let the rest and the status be sent, but wait no longer than the deadline.

        Args:
            status: finished, failed, interrupted, cancelled or paused.
            deadline_s: Then what is missing is left to `codctl sync`; seconds, fewer for a run that was stopped.
        """
        if deadline_s is None:
            deadline_s = _FINISH_DEADLINE_S if status in ("finished", "failed") else _STOP_DEADLINE_S
        if self._process is None:
            return
        process, self._process = self._process, None
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
            self._listener.join()
            process.stdout.close()

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout
        for line in process.stdout:
            self._warn(line.decode(errors="replace").strip())

    def _warn(self, what: str) -> None:
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
