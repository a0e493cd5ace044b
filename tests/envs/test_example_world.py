"""A family from outside: a package of its own, installed by pip, used by the command line in other processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).parents[1] / "example_world"
DOC = Path(__file__).parents[2] / "docs" / "adding-a-world.md"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip installed the example, built from a copy: building leaves files behind."""
    source, site = tmp_path_factory.mktemp("source") / "example", tmp_path_factory.mktemp("site")
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, *offline, "--target", str(site), str(source)], check=True, capture_output=True, timeout=300)
    return site


def codctl(site: Path, cwd: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "codctl.cli.main", *argv]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300, check=False)


def result(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["result"]
    return found


def test_it_is_listed_beside_the_built_in_ones(site: Path, tmp_path: Path) -> None:
    found = result(codctl(site, tmp_path, "env", "list", "--json"))
    names = [family["name"] for family in found["families"]]
    assert {"frozen_lake", "keypad"} <= set(names)
    assert found["broken"] == []


def test_it_validates_from_where_it_was_installed(site: Path, tmp_path: Path) -> None:
    found = result(codctl(site, tmp_path, "env", "validate", "keypad", "--packs", "20", "--json"))
    assert len(found["checks"]) > 15
    assert [check for check in found["checks"] if check["ok"] is False] == []


def test_it_is_played(site: Path, tmp_path: Path) -> None:
    done = codctl(site, tmp_path, "env", "play", "keypad", "--policy", "informed", "--json")
    assert result(done)["success"] == [1.0] * 4
    assert "The door shows:" in done.stderr


def test_it_is_evaluated(site: Path, tmp_path: Path) -> None:
    found = result(
        codctl(
            site, tmp_path, "eval", "--policy", "bayes", "family=keypad", "preset=hard", "rendering=compact",
            "length=3", "--limit", "50", "--json",
        )
    )  # fmt: skip
    assert "keypad" in json.dumps(found)


def test_the_guide_shows_the_code_as_it_is() -> None:
    """Every indented block of Python in the guide is a part of the example; so is every file it shows in full."""
    code = "\n".join(path.read_text() for path in (EXAMPLE / "keypad.py", EXAMPLE / "pyproject.toml"))
    plain = {" ".join(line.split()) for line in code.splitlines()}
    blocks = DOC.read_text().split("```")[1::2]
    shown = [block.partition("\n") for block in blocks]
    excerpts = [text for language, _, text in shown if language in ("python", "toml")]
    assert len(excerpts) >= 4
    for excerpt in excerpts:
        assert [line for line in excerpt.splitlines() if line.strip() and " ".join(line.split()) not in plain] == []
    assert len(DOC.read_text().splitlines()) < 120
