"""One process at a time, and a dead holder does not block."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from codctl.errors import PreflightError, RefusedError
from codctl.files.lock import RunLock, is_locked

HOLD = """
import sys, time
from pathlib import Path
from codctl.files.lock import RunLock
with RunLock(Path(sys.argv[1])):
    print('held', flush=True)
    time.sleep(60)
"""


def test_second_holder_is_refused_with_who_has_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_locked(path)
    with RunLock(path):
        assert is_locked(path)
        with (
            pytest.raises(RefusedError, match=f"in use by process {os.getpid()} on {socket.gethostname()}"),
            RunLock(path),
        ):
            pass
    assert not is_locked(path)
    with RunLock(path):
        pass


def test_killed_holder_frees_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        assert is_locked(path)
        with pytest.raises(RefusedError, match=f"process {child.pid}"), RunLock(path):
            pass
        child.send_signal(signal.SIGKILL)
    assert not is_locked(path)
    with RunLock(path):
        pass


def test_many_processes_race_for_one_lock(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from codctl.errors import PreflightError, RefusedError
        from codctl.files.lock import RunLock
        sys.stdin.readline()
        try:
            with RunLock(Path(sys.argv[1])):
                print("won", flush=True)
                sys.stdin.readline()
        except RefusedError:
            print("refused", flush=True)
    """)
    command = [sys.executable, "-c", script, str(tmp_path / "lock")]
    children = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) for _ in range(4)
    ]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
    results = [child.stdout.readline().strip() for child in children if child.stdout]
    for child in children:
        child.communicate("done\n")
    assert sorted(results) == ["refused", "refused", "refused", "won"]


def test_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_args: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with pytest.raises(PreflightError, match="cannot lock: No locks available"), RunLock(tmp_path / "lock"):
        pass


def test_damaged_lock_file_still_refuses(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with RunLock(path):
        path.write_text("not json")
        with pytest.raises(RefusedError, match="in use by another process"), RunLock(path):
            pass


def test_what_is_no_file_is_held_by_nobody(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.symlink_to("/dev/zero")
    assert not is_locked(path)
    with pytest.raises(RefusedError, match="not a regular file"), RunLock(path):
        pass
