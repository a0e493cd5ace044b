"""The engine inside this process ends the processes that it has started, and no other."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from codctl.engines.vllm import inside


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def test_descendants_are_killed_and_one_that_has_ended_is_no_error(child: subprocess.Popen[bytes]) -> None:
    [found] = [process for process in inside._descendants(os.getpid()) if process.pid == child.pid]
    inside._kill([found])
    assert child.wait(30) == -9
    inside._kill([found])


def test_a_process_that_has_got_the_id_since_is_left_alone(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = psutil.Process(child.pid)
    monkeypatch.setattr(found, "_ident", (child.pid, 1.0))
    inside._kill([found])
    assert child.poll() is None
