"""The process that ends what vLLM leaves when its parent dies, and nothing that only has the same id."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from codctl.engines.vllm import warden


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def test_what_is_watched_ends_with_the_parent(sleeper: subprocess.Popen[bytes]) -> None:
    script = [sys.executable, "-I", "-S", warden.__file__]
    subprocess.run(script, input=b"+%d\n-%d\n" % (sleeper.pid, sleeper.pid), check=True, timeout=30)
    assert sleeper.poll() is None  # it was released
    subprocess.run(script, input=b"+%d\n" % sleeper.pid, check=True, timeout=30)
    assert sleeper.wait(30) == -9


def test_a_process_that_has_got_the_id_since_is_left_alone(sleeper: subprocess.Popen[bytes]) -> None:
    warden.end(sleeper.pid, since="1")
    assert sleeper.poll() is None
