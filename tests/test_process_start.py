"""Streams that cannot end the work, and the environment of OpenMP."""

from __future__ import annotations

import codecs
import contextlib
import logging
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from codctl.log import log
from codctl.startup import READER_LEFT, Data, ReaderLeft, Talk, spell_plainly, wait_without_spinning

CODCTL = [sys.executable, "-m", "codctl.cli.main"]


def closed_pipe() -> int:
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def full_disk() -> int:
    return os.open("/dev/full", os.O_WRONLY)


def vanished_terminal() -> int:
    leader, follower = pty.openpty()
    os.close(leader)
    return follower


@contextlib.contextmanager
def opened(kind: type[Talk | Data], descriptor: int) -> Iterator[Talk | Data]:
    with os.fdopen(descriptor, "wb") as file:
        stream = kind(file, encoding="utf-8", errors="strict", line_buffering=True)
        yield stream
        with contextlib.suppress(OSError):
            stream.detach()
        with contextlib.suppress(OSError):
            file.close()


@pytest.mark.parametrize("broken", [closed_pipe, full_disk, vanished_terminal])
def test_talk_never_fails(broken) -> None:
    with opened(Talk, broken()) as stream:
        for _ in range(3):
            assert print("a line that nobody reads", file=stream, flush=True) is None
        print("x" * 100_000, file=stream)


def test_talk_to_a_closed_stream_is_dropped(tmp_path: Path) -> None:
    with opened(Talk, os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)) as stream:
        stream.close()
        print("more", file=stream, flush=True)


def test_a_reader_who_leaves_ends_the_command_once_and_quietly() -> None:
    with opened(Data, closed_pipe()) as stream:
        with pytest.raises(ReaderLeft) as left:
            print("a line", file=stream, flush=True)
        print("what follows goes nowhere", file=stream, flush=True)
    assert left.value.code == READER_LEFT == 141


def test_other_failures_of_stdout_are_errors() -> None:
    with opened(Data, full_disk()) as stream:
        with pytest.raises(OSError, match="No space left"):
            print("a line", file=stream, flush=True)
        stream.flush()  # as the interpreter does at its end


@pytest.mark.parametrize(
    ("argv", "ends", "code"),
    [
        (["recipe", "explain"], "| true", 141),
        (["recipe", "explain", "--json"], "| true", 141),
        (["recipe", "explain"], "> /dev/full", 1),
        (["recipe", "explain"], ">&-", 0),
        (["recipe", "show", "nothing"], "2>/dev/full", 2),
        (["recipe", "show", "nothing"], "2>&-", 2),
    ],
)
def test_commands_end_as_other_tools_do(argv: list[str], ends: str, code: int, tmp_path: Path) -> None:
    line = f'"$@" {ends}; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(
        ["bash", "-c", line, "bash", *CODCTL, *argv],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert ("No space left" in done.stderr) == (code == 1)


def test_characters_that_an_encoding_lacks_are_spelt() -> None:
    codecs.register_error("codctl.plain", spell_plainly)
    text = "2 layers × 4 – seed: 0 → 1 … ≤ 3 ▁█ Müller 漢 \ud83d"
    assert text.encode("ascii", "codctl.plain") == b"2 layers x 4 - seed: 0 -> 1 ... <= 3 _# Muller ? ?"
    assert text.encode("latin-1", "codctl.plain").startswith(b"2 layers \xd7 4 - seed")


@pytest.fixture
def openmp(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_threads_do_not_spin_unless_the_user_wants_it(openmp: pytest.MonkeyPatch) -> None:
    wait_without_spinning()
    assert os.environ["GOMP_SPINCOUNT"] == "0"
    openmp.setenv("GOMP_SPINCOUNT", "7")
    wait_without_spinning()
    assert os.environ["GOMP_SPINCOUNT"] == "7"


def test_a_wait_policy_of_the_users_is_kept(openmp: pytest.MonkeyPatch) -> None:
    openmp.setenv("OMP_WAIT_POLICY", "active")
    wait_without_spinning()
    assert "GOMP_SPINCOUNT" not in os.environ


def test_the_library_that_torch_computes_with_reads_it() -> None:
    """Each process that computes starts with `begin_process`; libgomp says what it has understood when it is loaded."""
    import torch

    libraries = [
        *Path(torch.__file__).parent.glob("lib/libgomp*"),
        *Path(torch.__file__).parents[1].glob("torch.libs/libgomp*"),
    ]
    if not libraries:
        pytest.skip("this torch does not come with libgomp")
    program = (
        "import ctypes, codctl.cli.main as m, codctl.startup as s; "
        f"s.begin_process(); ctypes.CDLL({str(libraries[0])!r})"
    )
    unset = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}
    env = {name: value for name, value in os.environ.items() if name not in unset} | {"OMP_DISPLAY_ENV": "verbose"}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
    assert "GOMP_SPINCOUNT = '0'" in done.stderr


class Raises(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise OSError("the collector is gone")


def test_a_handler_that_raises_costs_nobody_else_the_message(caplog: pytest.LogCaptureFixture) -> None:
    handler = Raises()
    log.addHandler(handler)
    try:
        with caplog.at_level(logging.INFO, "codctl"):
            log.info("step 1")
    finally:
        log.removeHandler(handler)
    assert caplog.messages == ["step 1"]
