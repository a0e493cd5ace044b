"""What a test needs to watch real processes come and go."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from codctl.jobs.queue import _BETWEEN

PATIENCE_S = 120.0  # a second's work on an idle machine takes far longer on a full one


def _until(found: Callable[[], object], what: str = "it") -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not found():
        assert time.monotonic() < deadline, f"{what} did not happen in {PATIENCE_S:g} s"
        time.sleep(0.01)


def _lives(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


@pytest.fixture
def until() -> Callable[..., None]:
    """Wait for something that happens elsewhere: `until(found, what)`."""
    return _until


@pytest.fixture
def lives() -> Callable[[int], bool]:
    """Whether a process exists and is more than an exit code that nobody has fetched."""
    return _lives


@pytest.fixture
def stand_in() -> Path:
    """A program that does as told on its command line, in place of a worker."""
    return Path(__file__).with_name("stand_in.py")


def squeue_line(
    job: str, state: str, run: Path, *, reason: str = "None", node: str = "", owner: int | None = None, name: str = "a"
) -> str:
    """What squeue says of a job whose script lies where those of a run do."""
    uid = os.getuid() if owner is None else owner
    script = run / "slurm" / ".submission_file_0a.sh"
    return _BETWEEN.join((job, state, reason, node, str(uid), f"user{uid}", name, str(script)))


class Clients:
    """SLURM's programs, in the only folder where programs are found beside the system's own."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._queue, self._scancelled = folder / "bin", folder / "queue", folder / "scancelled"
        self._folder.mkdir()
        self._queue.touch()
        # A queue; when there is the process of a `job` to it, only while that lives.
        lives = f"grep -qs '^State:.[RSDT]' /proc/$(cat {folder}/job)/status"
        self.program("squeue", f"[ -f {folder}/job ] && ! {lives} || cat {self._queue}")
        self.program("scontrol", "echo 'ClusterName             = here'")
        # It keeps what it was told, ends the process of `job`, and takes the jobs out of the queue.
        self.program(
            "scancel",
            f'echo "$@" >> {self._scancelled}; [ -f {folder}/job ] && kill $(cat {folder}/job)\n'
            f'for job; do sed -i "/^$job{_BETWEEN}/d" {self._queue}; done',
        )

    def program(self, name: str, script: str) -> None:
        path = self._folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def queued(self, *lines: str) -> None:
        self._queue.write_text("".join(f"{line}\n" for line in lines))

    @property
    def scancelled(self) -> list[str]:
        """The ids that scancel has had."""
        words = self._scancelled.read_text().split() if self._scancelled.exists() else []
        return [word for word in words if not word.startswith("-")]


@pytest.fixture
def clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clients:
    """A SLURM whose queue holds what the test says."""
    found = Clients(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return found
