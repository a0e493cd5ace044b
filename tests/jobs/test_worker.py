"""The worker process: it obeys requests to stop, ends as it says, and continues to the same bits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from codctl.config.compose import load_config
from codctl.jobs import worker
from codctl.processes import python_environment
from codctl.runs import code
from codctl.runs.directory import RunDirectory

MICRO = """\
world: {preset: tiny, rendering: compact, length: 2}
model: {build: {layers: 1, width: 16, heads: 2, kv_heads: 2, ffn: 32}}
sampling: {solve_tokens: 8, update_tokens: 12}
warm_start: {packs: 4, batch_rows: 32}
train: {steps: 6, packs: 2, rollouts: 2, lr: 1e-3, checkpoint_every: 100}
evaluation: {packs: 2, arms: [own], long_length: 0}
tracking: {mlflow: false}
runtime: {threads: 1, progress_s: 1}
"""
DEADLINE_S = 240.0


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., RunDirectory]:
    recipe = tmp_path / "micro.yaml"
    recipe.write_text(MICRO)

    def make_run(name: str, *overrides: str) -> RunDirectory:
        config = load_config(str(recipe), [*overrides, f"name={name}"])
        return RunDirectory.create_or_continue(tmp_path / "runs", config, recipe=str(recipe), command=["codctl"])

    return make_run


def start(run: RunDirectory, command: Sequence[str] | None = None) -> subprocess.Popen[str]:
    env = {**python_environment(code.snapshot(run.root).path), "OMP_NUM_THREADS": "1"}
    argv = command or worker.command(run.path)
    return subprocess.Popen(argv, env=env, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, cwd="/")


def wait_for(seen: Callable[[], bool], child: subprocess.Popen[str]) -> None:
    end_s = time.monotonic() + DEADLINE_S
    while not seen():
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < end_s
        time.sleep(0.005)


def steps(run: RunDirectory) -> int:
    return run.metrics_path.read_text().count('"train"') if run.metrics_path.exists() else 0


def end(child: subprocess.Popen[str]) -> tuple[int, str]:
    _, err = child.communicate(timeout=DEADLINE_S)
    return child.returncode, err


def final(run: RunDirectory) -> tuple[bytes, list[object]]:
    weights = (run.stage("cod_train") / "final" / "model.safetensors").read_bytes()
    records = map(json.loads, run.metrics_path.read_text().splitlines())
    return weights, [(r["phase"], r["step"], r["metrics"]) for r in records]


def test_paused_terminated_and_cancelled_between_steps_it_ends_with_the_same_bits(
    make: Callable[..., RunDirectory],
) -> None:
    through, run = make("through", "train.steps=12"), make("stopped", "train.steps=12")
    whole = start(through)
    child = start(run)
    wait_for(lambda: run.status() == "running", child)
    child.send_signal(signal.SIGUSR2)  # as schedulers send to every process of a job
    wait_for(lambda: steps(run) >= 1, child)
    run.request_stop("pause")
    assert end(child)[0] == 75
    assert run.status() == "paused"
    at = steps(run)
    assert run.mark().endswith(f"checkpoint step-{at:06d}")
    assert at < 12

    child = start(run)
    wait_for(lambda: steps(run) > at, child)
    child.send_signal(signal.SIGTERM)
    assert end(child) == (143, "")
    assert run.status() == "interrupted"
    assert run.attempts()[1]["message"] == "interrupted by SIGTERM, after saving"
    at = steps(run)
    assert run.mark().endswith(f"checkpoint step-{at:06d}")

    child = start(run)
    wait_for(lambda: steps(run) > at, child)
    run.request_stop("cancel")
    assert end(child)[0] == 130
    assert run.status() == "cancelled"
    assert end(start(run))[0] == 130  # a worker that comes late does not start it again
    assert len(run.attempts()) == 3

    run.clear_stop()
    assert end(start(run)) == (0, "")
    assert end(whole) == (0, "")
    assert [one["outcome"] for one in run.attempts()] == ["paused", "interrupted", "cancelled", "finished"]
    assert final(run) == final(through)
    assert "CoD-Train 12/12 in " in run.log_path(4).read_text()


def test_it_says_how_it_failed(make: Callable[..., RunDirectory]) -> None:
    run = make("lost", "model.path=/nowhere/at/all")
    status, err = end(start(run))
    assert status == 3
    assert err.startswith("error: ")
    assert "/nowhere/at/all" in err
    assert run.status() == "failed"
    assert run.attempts()[0]["message"]
    assert "Traceback" in run.log_path(1).read_text()
    assert "Traceback" not in err


def test_it_runs_the_code_that_was_submitted(make: Callable[..., RunDirectory], tmp_path: Path) -> None:
    run = make("old-code")
    snapshot = code.snapshot(run.root)
    program = "import codctl, os; os.write(2, codctl.__file__.encode())"
    child = start(run, [worker.command(run.path)[0], "-c", program])
    assert end(child)[1] == str(snapshot.path / "codctl" / "__init__.py")
    assert os.environ.get("PYTHONPATH", "") == "" or str(snapshot.path) not in os.environ["PYTHONPATH"]


def test_only_one_worker_at_a_time(make: Callable[..., RunDirectory]) -> None:
    run = make("busy")
    with run.start_attempt():
        status, err = end(start(run))
    assert status == 6
    assert f"in use by process {os.getpid()}" in err
