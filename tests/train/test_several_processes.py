"""`codctl train` with several learner processes: it ends as with one, and a process that is killed ends it in words."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from safetensors.torch import load_file

from tests.forked import SERVER_NAME

RECIPE = Path(__file__).parents[1] / "durability" / "small.yaml"
COMMAND = [sys.executable, "-m", "codctl.cli.main", "train", str(RECIPE), "tracking.mlflow=false", "model.device=cpu"]
TWO = ["cluster.processes_per_node=2", "train.strategy=ddp"]


def codctl_train(folder: Path, *more: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([*COMMAND, *more], cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def worker_of(training: subprocess.Popen[str]) -> int:
    """The process id of its other learner process, once there is one."""
    while training.poll() is None:
        with contextlib.suppress(psutil.Error):  # one has just ended
            for child in psutil.Process(training.pid).children(recursive=True):
                # The server that forks it holds its log open, too, for a moment.
                if child.name() != SERVER_NAME and any(
                    file.path.endswith("learner-1.log") for file in child.open_files()
                ):
                    return int(child.pid)
        time.sleep(0.1)
    raise AssertionError(training.communicate())


def weights(folder: Path) -> Path:
    return folder / "runs/small/stages/cod_train/final/model.safetensors"


@pytest.mark.slow
def test_a_killed_learner_process_ends_the_run_and_the_same_command_finishes_it(tmp_path: Path) -> None:
    run = tmp_path / "runs/small"
    first = codctl_train(tmp_path, *TWO)
    pid = worker_of(first)  # before it learns: the last three steps may be quicker than a look at all processes
    checkpoint = run / "stages/cod_train/checkpoints/step-000002"
    while not checkpoint.is_dir():
        assert first.poll() is None, first.communicate()
        time.sleep(0.02)
    killed = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    _, stderr = first.communicate(timeout=120)
    assert time.monotonic() - killed < 120
    assert first.returncode == 4
    assert "a learner process ended: rank 1 with exit code 137" in stderr
    assert "attempts/001/learner-1.log" in stderr
    assert (run / "attempts/001/learner-1.log").is_file()

    again = codctl_train(tmp_path, *TWO)
    _, stderr = again.communicate(timeout=600)
    assert again.returncode == 0, stderr
    assert "continuing after step" in stderr

    (tmp_path / "one").mkdir()
    alone = codctl_train(tmp_path / "one")
    _, stderr = alone.communicate(timeout=600)
    assert alone.returncode == 0, stderr
    two, one = load_file(weights(tmp_path)), load_file(weights(tmp_path / "one"))
    assert set(two) == set(one)
    apart = max(float((two[name] - one[name]).abs().max()) for name in two)
    assert apart < 0.1  # Adam makes rounding large (lr 1e-3), and one other token is another trajectory
