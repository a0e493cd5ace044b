"""A training with engines and learners on two nodes that share a disk and nothing else: one is killed, then the other.

vLLM's place is taken by a stand-in whose replies depend on the request alone: what is lost and asked again, or played
again after a resume, must come out the same to the bit.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from codctl.config.compose import load_config
from codctl.errors import BackendError, StageError
from codctl.files.seal import sha256_of
from codctl.processes import Child
from codctl.runs.directory import RunDirectory
from tests.nodes.two_nodes import NAMES, TwoNodes

pytestmark = pytest.mark.slurm

RECIPE = """\
world: {preset: tiny, rendering: compact, length: 2}
model:
  device: cpu
  build: {layers: 1, width: 32, heads: 2, kv_heads: 2, head_dim: 16, ffn: 64, vocab: 448, rope_theta: 100}
sampling: {solve_tokens: 8, update_tokens: 12}
warm_start: {packs: 100, epochs: 4, batch_rows: 16, lr: 2e-2, keep_fact: 0.35, wrong_fact: 0.9}
train: {steps: 6, packs: 4, rollouts: 4, lr: 1e-3, checkpoint_every: 2, strategy: ddp}
engine: {kind: vllm}
evaluation: {packs: 2, arms: [own], long_length: 0}
health: {look: {packs: 2}}
tracking: {mlflow: false}
runtime: {threads: 1, progress_s: 1}
cluster: {nodes: 2}
"""
FIRST, SECOND = range(2)
ENGINE = "vllm.entrypoints"


@pytest.fixture(scope="module")
def nodes() -> Iterator[TwoNodes]:
    if os.geteuid() or not shutil.which("ip"):
        pytest.skip("needs root and iproute2")
    with TwoNodes() as found:
        yield found


class Job:
    """A run's job on both nodes."""

    def __init__(self, nodes: TwoNodes, run: RunDirectory, number: int) -> None:
        self.nodes, self.run, self._supervisors = nodes, run, nodes.job(run.path, number)

    def until(self, found: Callable[[], Any], what: str, seconds: float = 300) -> Any:
        deadline = time.monotonic() + seconds
        while not (value := found()):
            assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}\n{self._seen()}"
            time.sleep(0.02)
        return value

    def trains(self, step: int) -> None:
        """Wait until a step is in the metrics, or the job has ended."""
        self.until(lambda: steps_of(self.run) >= step or self._has_ended(), f"step {step}")
        assert steps_of(self.run) >= step, self._seen()

    def codes(self) -> list[int | None]:
        """Exit codes of the supervisors, once both have ended."""
        self.until(self._has_ended, "the job ends")
        found = [one.wait(0) for one in self._supervisors]
        for node in (FIRST, SECOND):
            assert not self.nodes.processes(node, ""), "processes are left"
        return found

    def end(self) -> None:
        for node in (FIRST, SECOND):
            self.nodes.kill(node)
        for one in self._supervisors:
            Child.end(one, 0)

    def _has_ended(self) -> bool:
        return None not in [one.exit_code() for one in self._supervisors]

    def _seen(self) -> str:
        logs = [*self.run.path.glob("slurm/*.out"), *self.run.path.glob("attempts/*/log.txt")]
        return "\n".join(f"{path}:\n{path.read_text()[-1500:]}" for path in logs)


@pytest.fixture
def start(nodes: TwoNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Job]]:
    recipe, jobs = tmp_path / "two.yaml", list[Job]()
    recipe.write_text(RECIPE)

    def begin(name: str, number: int) -> Job:
        config = load_config(str(recipe), [f"name={name}"])
        run = RunDirectory.create_or_continue(tmp_path / "runs", config, recipe=str(recipe), command=["codctl"])
        jobs.append(Job(nodes, run, number))
        return jobs[-1]

    yield begin
    for job in jobs:
        job.end()


def test_an_engine_and_then_a_node_are_killed_and_the_weights_are_the_same(start: Callable[..., Job]) -> None:
    through = start("through", 1)
    through.trains(1)
    secret = through.run.path / "slurm" / "nodes" / "1-0-engines-1.json"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert through.codes() == [0, 0]
    assert not secret.exists()
    logs = [through.run.path / name for name in ("engine.log", f"engine-{NAMES[SECOND]}.log")]
    asked = [log.read_text().count("a reply") for log in logs]
    assert min(asked) > 0.3 * sum(asked)  # each has its share

    assert sum(line["metrics"]["grad_norm"] > 0 for line in lines_of(through.run, "train")) > 2  # there are new weights

    torn = start("torn", 2)
    torn.trains(1)
    os.kill(torn.nodes.processes(SECOND, ENGINE)[0], signal.SIGKILL)
    torn.trains(2)
    restarts = [line["metrics"]["engine/restarts"] for line in lines_of(torn.run, "train")]
    assert sum(restarts) == 1
    os.kill(torn.nodes.processes(SECOND, "--engines")[0], signal.SIGKILL)  # what has all engines of the node
    torn.trains(4)
    restarts = [line["metrics"]["engine/restarts"] for line in lines_of(torn.run, "train")]
    assert sum(restarts) == 2
    torn.nodes.kill(SECOND)
    began = time.monotonic()
    assert torn.codes()[FIRST] in (StageError.exit_code, BackendError.exit_code)  # the learner noticed, or the engine
    assert time.monotonic() - began < 60
    last = torn.run.attempts()[-1]
    assert last["outcome"] == "failed"
    lost = (f"the engines on {NAMES[SECOND]} are lost: ", "lost the connection to a learner process: ")
    assert last["message"].startswith(lost)

    assert start("torn", 3).codes() == [0, 0]
    assert results(torn.run) == results(through.run)


def steps_of(run: RunDirectory) -> int:
    return max((line["step"] for line in lines_of(run, "train")), default=0)


def lines_of(run: RunDirectory, phase: str) -> list[dict[str, Any]]:
    if not run.metrics_path.exists():
        return []
    whole = [line for line in run.metrics_path.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return [found for line in whole if (found := json.loads(line))["phase"] == phase]


def results(run: RunDirectory) -> dict[str, Any]:
    """What must not depend on what happened to the processes."""
    metrics = [
        {name: value for name, value in line["metrics"].items() if name != "engine/restarts"}
        for line in lines_of(run, "train")
    ]
    [weights] = (run.path / "stages" / "cod_train" / "final").glob("*.safetensors")
    return {"weights": sha256_of(weights), "metrics": metrics}
