"""A session of an agent program ends, with all that it started, whatever the program does."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from codctl.agents import session
from codctl.agents.places import fresh_places, remove_left_behind, renew
from codctl.agents.program import Launch
from codctl.agents.session import Lead, Session
from codctl.errors import StageError


def launched(code: str, folder: Path, stdin: str = "") -> Launch:
    argv = (sys.executable, "-I", "-S", "-c", code)
    return Launch(argv, {"PATH": os.environ["PATH"]}, folder, stdin)


def run(code: str, folder: Path, *, stdin: str = "", deadline_s: float = 30.0, lead: Lead | None = None) -> Session:
    return asyncio.run(session.run(launched(code, folder, stdin), folder, deadline_s=deadline_s, lead=lead))


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def ended(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not is_alive(pid)


def test_what_it_says_and_how_it_ends(tmp_path: Path) -> None:
    found = run("import sys; print(input()); print('oh', file=sys.stderr); sys.exit(3)", tmp_path, stdin="hello\n")
    assert (found.finished.exit_code, found.finished.timed_out) == (3, False)
    assert found.finished.stdout.read_text() == "hello\n"
    assert found.finished.stderr.read_text() == "oh\n"


def test_one_that_does_not_read_is_no_error(tmp_path: Path) -> None:
    assert run("pass", tmp_path, stdin="x" * 10**6).finished.exit_code == 0


def test_death_by_a_signal_counts_as_in_a_shell(tmp_path: Path) -> None:
    found = run("import os; print('so', flush=True); os.kill(os.getpid(), 11)", tmp_path)
    assert found.finished.exit_code == 128 + 11
    assert found.finished.stdout.read_text() == "so\n"


STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
wait = [sys.executable, "-I", "-S", "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"]
children = [subprocess.Popen(wait), subprocess.Popen(wait, start_new_session=True)]
print(os.getpid(), *(child.pid for child in children), flush=True)
ballast = b"x" * 50_000_000
time.sleep(60)
"""


def test_its_deadline_ends_it_and_all_that_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_GRACE_S", 0.1)
    found = run(STUBBORN, tmp_path, deadline_s=0.8)
    assert found.finished.timed_out
    assert found.finished.exit_code is None
    assert found.peak_mb > 50
    assert 0.8 <= found.wall_s < 5
    assert all(ended(int(pid)) for pid in found.finished.stdout.read_text().split())


def test_who_is_interrupted_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_GRACE_S", 0.1)

    async def interrupted() -> None:
        task = asyncio.create_task(session.run(launched(STUBBORN, tmp_path), tmp_path, deadline_s=60))
        while not (tmp_path / "stdout").is_file() or not (tmp_path / "stdout").read_text():
            await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(interrupted())
    assert all(ended(int(pid)) for pid in (tmp_path / "stdout").read_text().split())


def test_one_with_nothing_left_to_do_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_LINGER_S", 0.1)
    launch = launched("import time; time.sleep(60)", tmp_path)
    found = asyncio.run(session.run(launch, tmp_path, deadline_s=60, is_over=lambda: True))
    assert found.finished.timed_out
    assert found.wall_s < 10


def test_output_is_bounded_and_keeps_both_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "HEAD_BYTES", 1000)
    monkeypatch.setattr(session, "TAIL_BYTES", 100_000)
    found = run("print('first'); [print('x' * 1000) for _ in range(5000)]; print('last')", tmp_path)
    said = found.finished.stdout.read_text()
    assert said.startswith("first\n")
    assert said.endswith("last\n")
    assert "[codctl left out" in said
    assert len(said) < 300_000


def test_a_session_may_be_led(tmp_path: Path) -> None:
    answers = []

    async def lead(heard: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        for word in (b"one\n", b"two\n"):
            to.write(word)
            await to.drain()
            answers.append(await heard.readline())

    found = run("import sys; [print(line.upper(), end='', flush=True) for line in sys.stdin]", tmp_path, lead=lead)
    assert answers == [b"ONE\n", b"TWO\n"]
    assert found.finished.exit_code == 0
    assert found.finished.stdout.read_text() == "ONE\nTWO\n"


def test_a_program_that_cannot_be_started(tmp_path: Path) -> None:
    launch = Launch((str(tmp_path / "none"),), {}, tmp_path)
    with pytest.raises(StageError, match="cannot start a process: No such file"):
        asyncio.run(session.run(launch, tmp_path, deadline_s=1))


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder whose path is short, as that of temporary folders is."""
    with tempfile.TemporaryDirectory(prefix="cod") as folder:
        yield Path(folder)


def test_places_are_fresh_and_gone_unless_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with fresh_places() as places:
        (places.home / "secret").write_text("x")
        assert places.home.parent == places.work.parent == places.temp.parent
    assert not list(tmp_path.iterdir())
    kept = tmp_path / "kept"
    renew(kept)
    with fresh_places(kept) as places:
        (places.home / "notes").write_text("x")
    assert (kept / "home" / "notes").read_text() == "x"
    renew(kept)
    assert not list(kept.iterdir())


def test_places_have_short_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / ("x" * 80)))
    with fresh_places() as places:
        assert len(str(places.temp / "world.sock")) < 100


def test_what_a_killed_process_left_behind_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    mine, dead, other = (tmp_path / f"codctl-{name}" for name in (f"{os.getpid()}-abc", "999999999-abc", "notes"))
    for folder in (mine, dead, other):
        folder.mkdir()
    remove_left_behind()
    assert (mine.is_dir(), dead.is_dir(), other.is_dir()) == (True, False, True)
