"""Processes that run `codctl …` to be killed, limited and waited for, with their output in files."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CHILD = Path(__file__).with_name("child.py")


class Child:
    """A process.

    Args:
        process: It.
        out: Where its stdout goes.
        err: Where its stderr goes.
    """

    def __init__(self, process: subprocess.Popen[bytes], out: Path, err: Path) -> None:
        self.pid = process.pid
        self._process, self._out, self._err = process, out, err
        self._descriptor = os.pidfd_open(self.pid)

    def has_ended(self, timeout_s: float = 0.0) -> bool:
        """Whether it has ended, waiting for that a while."""
        return self._process.returncode is not None or bool(select.select([self._descriptor], [], [], timeout_s)[0])

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._process.kill()
        self.code(deadline_s=60)

    def code(self, deadline_s: float) -> int:
        """The exit code (−9 after SIGKILL); a process that outlasts the deadline is killed and reported."""
        if self._process.returncode is None:
            late = not self.has_ended(deadline_s)
            if late:
                self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            os.close(self._descriptor)
            assert not late, f"process {self.pid} outlasted {deadline_s:g} s: {self.err()}"
        return int(self._process.returncode)

    def out(self) -> str:
        return self._out.read_text(errors="replace")

    def err(self) -> str:
        return self._err.read_text(errors="replace")


class Processes:
    """Starts processes, and kills at the end of its `with` block what is left of them.

    Args:
        folder: For their output.
        env: Environment of all, beside the present one.
    """

    def __init__(self, folder: Path, env: Mapping[str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._env = folder, {**os.environ, **(env or {})}
        self._children: list[Child] = []

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *error: object) -> None:
        for child in self._children:
            with contextlib.suppress(AssertionError):
                child.kill()

    def start(self, *argv: str, fsize: int = 0) -> Child:
        """Start `codctl ARGV`; no file of it may grow beyond `fsize` bytes, if given."""
        return self._start({"argv": argv, "fsize": fsize})

    def run(self, *argv: str, deadline_s: float = 300.0, fsize: int = 0) -> Child:
        """The same, and wait for its end."""
        child = self.start(*argv, fsize=fsize)
        child.code(deadline_s)
        return child

    def call(self, file: Path, function: str, *arguments: Any, deadline_s: float = 120.0) -> Any:
        """What a function of a file returns in a process of its own, as JSON carries it."""
        child = self._start({"call": [str(file), function, *arguments]})
        assert child.code(deadline_s) == 0, child.err()
        return json.loads(child.out())

    def _start(self, request: Mapping[str, Any]) -> Child:
        out, err = (self._folder / f"{len(self._children) + 1:04d}.{end}" for end in ("out", "err"))
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, str(CHILD), json.dumps(request)],
                env=self._env, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
            )  # fmt: skip
        self._children.append(Child(process, out, err))
        return self._children[-1]
