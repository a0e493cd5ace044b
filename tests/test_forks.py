"""Forks of a process: what they send, how they fail, and that none outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from codctl.errors import StageError
from codctl.forks import Fork, Send, one_thread_each
from codctl.processes import is_alive, python_environment


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.02)


def test_a_fork_has_what_its_parent_has_and_sends_what_it_finds() -> None:
    numbers = [1, 2, 3]

    def work(send: Send) -> None:
        numbers.append(4)
        send(os.getpid())
        send(sum(numbers))

    with Fork(work) as fork:
        assert fork.receive() not in (0, os.getpid())
        assert fork.receive() == 10
    assert numbers == [1, 2, 3]


def test_gradients_can_be_computed_in_a_fork_whose_parent_has_worked_with_threads() -> None:
    layer, before = torch.nn.Linear(512, 512), torch.get_num_threads()
    inputs = torch.randn(2048, 512)

    def gradient() -> Any:
        layer.zero_grad()
        layer(inputs).square().sum().backward()
        assert layer.weight.grad is not None
        return layer.weight.grad.numpy()

    try:
        torch.set_num_threads(2)
        expected = gradient().copy()
        layer.zero_grad()
        with one_thread_each(2), Fork(lambda send: send(gradient())) as fork:
            torch.testing.assert_close(torch.from_numpy(fork.receive()), torch.from_numpy(expected))
    finally:
        torch.set_num_threads(before)
    assert layer.weight.grad is None


def test_the_parent_hears_of_a_failure() -> None:
    def work(send: Send) -> None:
        raise KeyError("what was wanted")

    with Fork(work) as fork, pytest.raises(RuntimeError, match="KeyError: 'what was wanted'"):
        fork.receive()


def test_the_parent_hears_of_a_fork_that_is_killed() -> None:
    def work(send: Send) -> None:
        send(os.getpid())
        time.sleep(60)

    with Fork(work) as fork:
        os.kill(fork.receive(), signal.SIGKILL)
        with pytest.raises(StageError, match="ended with exit code -9") as caught:
            fork.receive()
    assert "the same command continues" in caught.value.hint


def test_a_fork_that_is_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codctl.forks._SILENT_S", 0.1)
    with Fork(lambda send: time.sleep(60)) as fork, pytest.raises(StageError, match="silent for"):
        fork.receive()


def test_leaving_the_block_ends_it_and_signals_do_not() -> None:
    def work(send: Send) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
            os.kill(os.getpid(), number)
        send(os.getpid())
        time.sleep(60)

    with Fork(work) as fork:
        pid = fork.receive()
        assert is_alive(pid)
    assert not is_alive(pid)


PARENT = """
import os, time
from pathlib import Path
from typing import Any
from codctl.forks import Fork
def work(send):
    Path("fork").write_text(str(os.getpid()))
    time.sleep(60)
with Fork(work) as fork:
    fork.receive()
"""


def test_a_fork_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], cwd=tmp_path, env=python_environment())
    until(lambda: (tmp_path / "fork").exists() and (tmp_path / "fork").read_text(), "the fork")
    time.sleep(1.0)  # for the guardian to have heard of it
    parent.kill()
    parent.wait()
    until(lambda: not is_alive(int((tmp_path / "fork").read_text())), "the end of the fork")


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        with one_thread_each(2):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 4
        with one_thread_each(1):
            assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)
