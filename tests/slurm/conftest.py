"""One real cluster for all tests here, and the command line as a user of it types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from codctl.files.seal import sha256_of
from codctl.runs.directory import RunDirectory
from tests.slurm.cluster import Cluster

# Half a minute of work on one core that changes the weights: long enough to be stopped in the middle.
LONGER = """\
name: longer
world: {family: frozen_lake, preset: tiny, rendering: compact, length: 2}
model:
  build: {layers: 1, width: 32, heads: 2, kv_heads: 2, head_dim: 16, ffn: 64, vocab: 448, rope_theta: 100}
sampling: {solve_tokens: 8, update_tokens: 12}
warm_start: {packs: 100, batch_rows: 16, lr: 1e-2, keep_fact: 0.35, wrong_fact: 0.9}
train: {steps: 400, packs: 2, rollouts: 4, lr: 1e-3, checkpoint_every: 10}
evaluation: {packs: 2, arms: [own, none], long_length: 0}
tracking: {mlflow: false, trajectories_every: 40}
runtime: {threads: 1, progress_s: 1}
cluster: {cpus_per_task: 1, time: 10, signal_delay_s: 30}
"""
SHORT = ("train.steps=2", "warm_start.packs=10")


@dataclass(frozen=True)
class Desk:
    """Somebody's folder, from which codctl is called."""

    folder: Path
    cluster: Cluster

    def codctl(self, *argv: str, code: int = 0) -> dict[str, Any]:
        """Run a command line with --json; what it printed as its result or its error."""
        done = subprocess.run(
            [sys.executable, "-m", "codctl.cli.main", *argv, "--json"],
            cwd=self.folder, env={**self.cluster.environment, "OMP_NUM_THREADS": "1"},
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        found: dict[str, Any] = json.loads(done.stdout)
        return found.get("result") or found["error"]

    def train(self, name: str, *overrides: str) -> str:
        """Submit the recipe under a name; the job's id."""
        return str(self.codctl("train", "longer.yaml", "--slurm", "--name", name, *overrides)["jobs"][0])

    def run(self, name: str) -> RunDirectory:
        return RunDirectory(self.folder / "runs" / name)

    def status(self, name: str) -> str:
        return str(self.codctl("status", name)["runs"][0]["status"])

    def until(self, found: Callable[[], object], what: str, seconds: float = 600) -> None:
        """Wait for something that happens on the cluster."""
        deadline = time.monotonic() + seconds
        while not found():
            assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}\n{self._seen()}"
            time.sleep(0.3)

    def trains(self, name: str, step: int = 20) -> None:
        """Wait until a run has passed a step."""
        folder = self.run(name).stage("cod_train") / "checkpoints"
        self.until(lambda: any(path.name >= f"step-{step:06d}" for path in folder.glob("step-*")), f"{name} trains")

    def ends(self, name: str, status: str = "finished", seconds: float = 600) -> None:
        over = ("finished", "failed", "cancelled")
        self.until(lambda: self.run(name).status() in over, f"{name} ends", seconds)
        assert self.run(name).status() == status, self._seen()

    def account(self, job: str) -> str:
        """A job's last state as sacct has it, which hears of it late."""
        return next(iter(self.cluster.run("sacct", "-nPX", "-o", "State", "-j", job).split()), "unknown")

    def _seen(self) -> str:
        logs = sorted(self.folder.glob("runs/*/slurm/*.out"), key=os.path.getmtime)[-3:]
        ends = [f"{path}:\n{path.read_text()[-1500:]}" for path in logs]
        return "\n".join([self.cluster.run("squeue", "--states=all"), *ends])


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    found = Cluster()
    found.up()
    yield found
    found.down()


@pytest.fixture(scope="session")
def desk(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    folder = tmp_path_factory.mktemp("desk of mine")
    (folder / "longer.yaml").write_text(LONGER)
    return Desk(folder, cluster)


@pytest.fixture(scope="session")
def reference(desk: Desk) -> RunDirectory:
    """The same recipe, run here and without a break."""
    desk.codctl("train", "longer.yaml", "--name", "reference")
    return desk.run("reference")


@pytest.fixture
def same(reference: RunDirectory) -> Callable[[str], None]:
    """Assert that a run has the same weights, metrics and evaluation as the one that was left alone."""
    desk_runs = reference.path.parent

    def check(name: str) -> None:
        assert results(RunDirectory(desk_runs / name)) == results(reference)

    return check


def results(run: RunDirectory) -> dict[str, Any]:
    """What must not depend on where a run ran and how often it was stopped."""
    stages = run.path / "stages"
    files = [*sorted((stages / "cod_train" / "final").glob("*.safetensors")), *stages.glob("evaluation/*/rows.parquet")]
    lines = [json.loads(line) for line in run.metrics_path.read_text().splitlines()]
    assert len(files) == 3
    return {
        "files": {str(path.relative_to(stages)): sha256_of(path) for path in files},
        "metrics": [(line["phase"], line["step"], line["metrics"]) for line in lines],
    }
