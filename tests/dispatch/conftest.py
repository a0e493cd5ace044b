"""What a test needs to watch real processes come and go."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

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
