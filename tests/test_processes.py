"""Children end gently or by force, together, and with the process that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from codctl import processes
from codctl.errors import StageError
from codctl.processes import Child, Children, guard, python_environment

SLEEP = ["sleep", "60"]
STUBBORN = ["/bin/sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done"]


def until(found: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 60
    while not found():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def start(argv: list[str], log: Path | None = None, grace_s: float = 0.0) -> Child:
    return Child.start(argv, env=os.environ, log=log, grace_s=grace_s)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(SLEEP, start_new_session=True)
    yield process
    process.kill()
    process.wait()


def test_end_is_gentle_first_and_sure_in_the_end(tmp_path: Path) -> None:
    assert start(SLEEP).end(30) == 128 + signal.SIGTERM
    child = start(STUBBORN, tmp_path / "log")
    until(lambda: (tmp_path / "log").read_bytes(), "the trap")
    assert child.end(0.1) == 128 + signal.SIGKILL
    assert child.exit_code() == 128 + signal.SIGKILL


def test_a_stopped_child_is_woken_to_end(tmp_path: Path) -> None:
    child = start(SLEEP)
    child.signal(signal.SIGSTOP)
    assert child.end(30) == 128 + signal.SIGTERM


def test_the_rest_of_a_group_ends_with_its_leader(tmp_path: Path) -> None:
    child = start(["/bin/sh", "-c", "sleep 60 & echo $!; exit 7"], tmp_path / "log")
    assert child.wait(30) == 7
    assert not lives(int((tmp_path / "log").read_text()))


def test_no_child_hears_the_warning_of_a_scheduler() -> None:
    child = start(SLEEP)
    child.signal(signal.SIGUSR2)
    assert child.wait(0.2) is None
    child.end(0)


def test_a_log_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StageError, match="cannot write: "):
        start(SLEEP, tmp_path / "file" / "log")


def test_children_fail_together() -> None:
    begun = time.monotonic()
    argv = ["/bin/sh", "-c", "[ $MINE = 0 ] && exit 3; sleep 60"]
    environments = [{**os.environ, "MINE": str(number)} for number in range(2)]
    with Children(argv, environments, grace_s=0) as children:
        assert children.wait(0) is None or children.wait() == 3
        assert children.wait() == 3
    assert time.monotonic() - begun < 50


PARENT = """
import os, sys, time
from codctl.processes import Child
for grace_s, script in ((30, 'trap "touch saved; exit" TERM; while :; do sleep 0.05; done'), (0, "exec sleep 60")):
    child = Child.start(["/bin/sh", "-c", "echo $$ > pid.$$; " + script], env=os.environ, log=None, grace_s=grace_s)
Child.start(["/bin/sh", "-c", "echo $$ > free; exec sleep 60"], env=os.environ, log=None, grace_s=None)
time.sleep(60)
"""


def test_children_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], cwd=tmp_path, env=python_environment())
    until(lambda: len(list(tmp_path.glob("pid.*"))) == 2 and (tmp_path / "free").exists(), "all children")
    pids = [int(path.suffix[1:]) for path in tmp_path.glob("pid.*")]
    until(lambda: (tmp_path / "free").read_text(), "the id of the free one")
    time.sleep(0.2)  # for the shell to set its trap
    parent.kill()
    parent.wait()
    until(lambda: not any(map(lives, pids)), "the end of the children")
    assert (tmp_path / "saved").exists()
    free = int((tmp_path / "free").read_text())
    assert lives(free)
    os.kill(free, signal.SIGKILL)


def test_a_guardian_that_is_killed_is_replaced_and_knows_all() -> None:
    first = start(SLEEP)
    guardian = processes._guardian._process
    assert guardian is not None
    guardian.kill()
    guardian.wait()
    second = start(SLEEP)
    processes._guardian._close_pipe()  # as if this process had died
    assert [first.wait(60), second.wait(60)] == [128 + signal.SIGKILL] * 2


def test_a_guardian_leaves_what_was_released(sleeper: subprocess.Popen[bytes]) -> None:
    guard([b"+%d 0\n" % sleeper.pid, b"-%d\n" % sleeper.pid])
    assert sleeper.poll() is None
    guard([b"+%d 0\n" % sleeper.pid])
    assert sleeper.wait(30) == -signal.SIGKILL


def test_a_process_that_has_got_the_id_since_is_left_alone(sleeper: subprocess.Popen[bytes]) -> None:
    earlier = psutil.Process(sleeper.pid)
    earlier._ident = (sleeper.pid, 1.0)  # as one that was born at another time
    processes._kill(earlier)
    assert sleeper.poll() is None
