"""Places and Pythons in which nothing can work, and streams that are closed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from codctl.cli.main import run


def test_a_working_directory_that_is_gone_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert run(["status"]) == 2
    assert capsys.readouterr().err.startswith(
        "error: the working directory is gone (No such file or directory)\n  → cd "
    )


def test_python_without_docstrings_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-OO", "-m", "codctl.cli.main", "recipe", "list"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("\n  → unset PYTHONOPTIMIZE\n")


def test_a_question_finds_a_closed_stdin(tmp_path: Path) -> None:
    line = f'exec "{sys.executable}" -m codctl.cli.main env play frozen_lake <&-'
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("You stopped before the end of the first task: no score.\n")
