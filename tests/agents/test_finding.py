"""Where agent programs are found, and what they say of themselves."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from codctl.agents import finding
from codctl.agents.openclaw import OpenClaw
from codctl.errors import PreflightError


def executable(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_what_its_variable_names_comes_first_then_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named, on_path, elsewhere = (executable(tmp_path / name / "openclaw") for name in ("a", "b", "c"))
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    assert finding.find(OpenClaw(), "openclaw", [tmp_path / "no", elsewhere]) == elsewhere
    monkeypatch.setenv("PATH", str(on_path.parent))
    assert finding.find(OpenClaw(), "openclaw", [elsewhere]) == on_path
    monkeypatch.setenv("CODCTL_OPENCLAW", str(named))
    assert finding.find(OpenClaw(), "openclaw") == named


@pytest.mark.parametrize("named", ["none", "."])
def test_a_variable_that_names_nothing_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    monkeypatch.setenv("PATH", str(executable(tmp_path / "b" / "openclaw").parent))
    monkeypatch.setenv("CODCTL_OPENCLAW", str(tmp_path / named))
    with pytest.raises(PreflightError, match="CODCTL_OPENCLAW names no program that can be started"):
        finding.find(OpenClaw(), "openclaw")


def test_what_is_missing_can_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/none")
    monkeypatch.delenv("CODCTL_OPENCLAW", raising=False)
    with pytest.raises(PreflightError, match="OpenClaw is not installed") as error:
        finding.find(OpenClaw(), "openclaw")
    assert error.value.hint.startswith("npm install -g openclaw@2026.9.6")


def test_a_program_that_says_nothing(tmp_path: Path) -> None:
    assert finding.said([sys.executable, "-c", "print(' 1.2 ')"], {}) == "1.2"
    for argv in ([sys.executable, "-c", "raise SystemExit(3)"], [str(tmp_path / "none")]):
        with pytest.raises(PreflightError, match="it does not say its version"):
            finding.said(argv, {})
