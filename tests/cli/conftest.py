"""Run command lines in this process, and one tiny training for all tests that look at a run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from codctl.cli.main import run

MICRO = """\
name: micro
description: Seconds on one core, for tests.
world: {preset: tiny, rendering: compact, length: 3}
model: {build: {layers: 1, width: 16, heads: 2, kv_heads: 2, ffn: 32}}
sampling: {solve_tokens: 8, update_tokens: 12}
warm_start: {packs: 4, batch_rows: 32}
train: {steps: 2, packs: 2, rollouts: 2, lr: 1e-3, checkpoint_every: 1}
evaluation: {packs: 2, arms: [own, none], long_length: 0}
tracking: {mlflow: false, trajectories_every: 1}
runtime: {threads: 1, progress_s: 1}
"""


@dataclass(frozen=True)
class Outcome:
    """What a command line did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        assert len(self.out.splitlines()) == 1
        return found


Cli = Callable[..., Outcome]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("CODCTL_RUNS_DIR", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def cli(home: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run a command line as the console script does."""

    def call(*argv: str) -> Outcome:
        code = run(argv)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture
def micro(home: Path) -> str:
    """A recipe that trains in seconds."""
    (home / "micro.yaml").write_text(MICRO)
    return "micro.yaml"


@dataclass(frozen=True)
class Trained:
    """A finished run, made by a real process."""

    runs_dir: Path
    recipe: Path
    done: subprocess.CompletedProcess[str]


def codctl(*argv: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "80"}
    command = [sys.executable, "-m", "codctl.cli.main", *argv]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Treat as read-only."""
    home = tmp_path_factory.mktemp("trained")
    recipe = home / "micro.yaml"
    recipe.write_text(MICRO)
    done = codctl("train", "micro.yaml", "--json", cwd=home)
    assert done.returncode == 0, done.stderr
    return Trained(home / "runs", recipe, done)


@pytest.fixture
def warm(home: Path, trained: Trained) -> Path:
    """A runs folder in which a second run of the micro recipe, `--name other`, finds its warm start made already."""
    shutil.copytree(trained.runs_dir, home / "runs")
    shutil.copy(trained.recipe, home)
    return home / "runs"


@pytest.fixture
def in_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], object]], None]:
    """Do something in the middle of a training step."""

    def call(step: int, act: Callable[[], object]) -> None:
        from codctl.learner.learner import Learner

        learn = Learner.learn

        def acting(self: Learner, samples: Any, at: int, judge: Any = None) -> Any:
            if at == step:
                act()
            return learn(self, samples, at, judge)

        monkeypatch.setattr(Learner, "learn", acting)

    return call
