"""A detached process is handed over only when it works, and then outlives whoever started it."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest

from codctl.errors import CodctlError, PreflightError, RefusedError, StageError
from codctl.processes import start_detached

ERROR = "error: runs/a: the run is in use by process 7 on here\n  → wait for it or stop it"


def start(stand_in: Path, run: Path, *verbs: str) -> int:
    return start_detached(
        [sys.executable, str(stand_in), str(run), *verbs],
        env=os.environ,
        log=run / "worker.log",
        is_up=(run / "pid").exists,
        deadline_s=30,
    )


def test_it_is_up_and_on_its_own_when_it_returns(stand_in: Path, tmp_path: Path, until: Any, lives: Any) -> None:
    gate = tmp_path / "gate"
    pid = start(stand_in, tmp_path, "say=hello", "up", f"until={gate}")
    assert int((tmp_path / "pid").read_text()) == pid
    assert os.getsid(pid) == pid
    assert Path(f"/proc/{pid}/cwd").readlink() == Path.cwd()  # relative paths in a recipe stay right
    assert Path(f"/proc/{pid}/fd/0").readlink() == Path("/dev/null")
    assert (tmp_path / "worker.log").read_text() == "hello\n"
    gate.touch()
    until(lambda: not Path(f"/proc/{pid}").exists(), "the end of the process, collected,")


@pytest.mark.parametrize(
    ("code", "kind", "said", "message", "hint"),
    [
        (6, RefusedError, ERROR, "runs/a: the run is in use by process 7 on here", "wait for it or stop it"),
        (3, PreflightError, "error: no disk", "no disk", ""),
        (1, StageError, "Traceback\nValueError: seven", "Traceback / ValueError: seven", ""),
        (1, StageError, "", "the detached process ended with exit code 1", ""),
    ],
)
def test_one_that_ends_before_says_why(
    code: int, kind: type[CodctlError], said: str, message: str, hint: str, stand_in: Path, tmp_path: Path
) -> None:
    (tmp_path / "worker.log").write_text("error: of an earlier time\n")
    with pytest.raises(kind) as caught:
        start(stand_in, tmp_path, *([f"say={said}"] if said else []), f"exit={code}")
    assert (caught.value.message, caught.value.hint) == (message, hint)
    # Words of our own name their place; others are to be read in the log.
    assert caught.value.where == ("" if said.startswith("error: ") else str(tmp_path / "worker.log"))


def test_one_that_has_nothing_to_do_is_no_error(stand_in: Path, tmp_path: Path) -> None:
    assert start(stand_in, tmp_path, "exit=0") > 0


def test_one_that_is_not_up_in_time_is_ended(tmp_path: Path, lives: Any) -> None:
    script = f"echo thinking; sleep 60 & echo $! > {tmp_path}/child; wait"
    with pytest.raises(StageError, match=r"did not start within 1 s and was ended; its output: thinking") as caught:
        start_detached(["/bin/sh", "-c", script], env={}, log=tmp_path / "log", is_up=lambda: False, deadline_s=1)
    assert "without --detach" in caught.value.hint
    assert not lives(int((tmp_path / "child").read_text()))


def test_a_program_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="cannot start a process: No such file"):
        start_detached(["/no/such/python"], env={}, log=tmp_path / "log", is_up=lambda: False)


LAUNCHER = """
import os, sys
from pathlib import Path
from codctl.processes import start_detached
run = Path(sys.argv[1])
pid = start_detached(sys.argv[2:], env=dict(os.environ), log=run / "worker.log", is_up=(run / "pid").exists)
print(pid, flush=True)
sys.stdin.read()
"""


def launch(stand_in: Path, run: Path, *verbs: str) -> list[str]:
    return [sys.executable, "-c", LAUNCHER, str(run), sys.executable, str(stand_in), str(run), *verbs]


def test_it_outlives_its_terminal(stand_in: Path, tmp_path: Path, until: Any, lives: Any) -> None:
    gate = tmp_path / "gate"
    keyboard, terminal = pty.openpty()
    shell = subprocess.Popen(
        launch(stand_in, tmp_path, "up", f"until={gate}", "say=still here"),
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(terminal)
    assert shell.stdout is not None
    pid = int(shell.stdout.readline())
    os.close(keyboard)  # the window is closed: SIGHUP for all that belongs to it
    assert shell.wait(120) == -signal.SIGHUP
    assert lives(pid)
    gate.touch()
    until(lambda: "still here" in (tmp_path / "worker.log").read_text(), "the end of its work")
    shell.stdout.close()


def test_it_holds_no_pipe_of_whoever_started_it_open(stand_in: Path, tmp_path: Path, lives: Any) -> None:
    gate = tmp_path / "gate"
    # Like `codctl train --detach | cat`: ends when the launcher does.
    done = subprocess.run(
        launch(stand_in, tmp_path, "up", f"until={gate}"), input="", capture_output=True, text=True, timeout=120
    )
    assert lives(int(done.stdout))
    gate.touch()


def test_ctrl_c_while_waiting_takes_it_back(stand_in: Path, tmp_path: Path, until: Any, lives: Any) -> None:
    launcher = subprocess.Popen(launch(stand_in, tmp_path, "child", "sleep"), stderr=subprocess.PIPE)
    until(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text(), "the child's child")
    launcher.send_signal(signal.SIGINT)
    launcher.communicate(timeout=120)
    assert not lives(int((tmp_path / "child").read_text()))
