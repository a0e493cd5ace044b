"""The process that sends a run while it trains, with a tracker that is a file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codctl.config.schema import Config
from codctl.runs.directory import RunDirectory
from codctl.tracking import mlflow_server
from codctl.tracking import sender as sender_module
from codctl.tracking.jsonl import MetricsLog
from codctl.tracking.sender import Sender
from codctl.tracking.sync import Sync, select
from codctl.tracking.tracker import Tracker
from tests.forked import FRESH
from tests.tracking.toy import TOY

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow and its friends warn about each other

PATIENCE_S = 120.0


@pytest.fixture
def heard(tmp_path: Path) -> Path:
    """The tracker's file."""
    path = tmp_path / "toy.jsonl"
    path.touch()
    return path


@pytest.fixture
def run(make_run: Any, heard: Path) -> RunDirectory:
    """A run of two steps."""
    options = {TOY: {"file": str(heard), "down": str(heard.with_name("down"))}}
    found: RunDirectory = make_run(steps=2, mlflow=False, sinks=[TOY], options=options)
    return found


def _steps(heard: Path) -> list[int]:
    """The steps of the loss that were sent, doubled ones too."""
    points = [point for line in _lines(heard) for point in line.get("points", ())]
    return [step for key, step, _ in points if key == "train/loss"]


def _statuses(heard: Path) -> list[str]:
    return [line["status"] for line in _lines(heard) if "status" in line]


def _lines(heard: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in heard.read_text().splitlines() if line.endswith("}")]


def _end(sender: Sender, status: str, deadline_s: float = PATIENCE_S) -> None:
    sender.end(status, deadline_s=deadline_s)
    sender.wait()


def test_a_run_is_sent_while_it_trains(
    run: RunDirectory, heard: Path, logged: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    tracker = Tracker(run, run.config())
    _until(lambda: _steps(heard) == [1, 2])
    tracker.log(3, "train", {"loss": 1.0})
    tracker.finish("cancelled")
    assert _steps(heard) == [1, 2, 3]
    assert _statuses(heard) == ["running", "cancelled"]
    assert [line["file"] for line in _lines(heard) if "file" in line] == ["config.json"]
    assert caplog.records == []


def test_a_run_that_is_killed_is_marked_so_and_continues(run: RunDirectory, heard: Path, logged: Any) -> None:
    code = (
        "import sys, time; from pathlib import Path; from codctl.tracking.sender import Sender;"
        "sender = Sender(Path(sys.argv[1]), 'tiny', sys.argv[2]); print(sender._process.pid, flush=True);"
        "time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(run.path), TOY], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    sender = int(parent.stdout.readline())
    _until(lambda: _steps(heard) == [1, 2])
    os.kill(sender, signal.SIGTERM)  # as one to the whole group; its parent decides when it ends
    parent.kill()
    parent.wait()
    parent.stdout.close()
    _until(lambda: "died" in _statuses(heard))
    MetricsLog(run.metrics_path).rewind("train", 1)
    logged(run, 2, 4)  # the second step has been sent
    _end(Sender(run.path, "tiny", TOY), "finished")
    assert _steps(heard) == [1, 2, 3, 4]
    assert _statuses(heard) == ["running", "died", "running", "finished"]


def test_a_sender_that_dies_is_started_again_and_in_the_end_reported(
    run: RunDirectory, heard: Path, logged: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sender_module, "_RESTART_AFTER_S", (0.01,))
    trouble: list[str] = []
    sender = Sender(run.path, "tiny", TOY, trouble.append)
    _until(lambda: _steps(heard) == [1, 2])
    os.kill(_pid(sender), signal.SIGKILL)
    logged(run, 3, 3)
    _until(lambda: _steps(heard) == [1, 2, 3])
    assert caplog.messages == [f"the process that sends to {TOY} was killed by SIGKILL; starting it again"]
    assert trouble == []
    os.kill(_pid(sender), signal.SIGKILL)
    _until(lambda: trouble)
    assert trouble == [f"{TOY} gets no more numbers: the process that sends them was killed by SIGKILL again"]
    _end(sender, "finished")
    assert caplog.messages[1:] == [f"{trouble[0]}. Nothing is lost: `codctl sync tiny` sends the rest"]


def _pid(sender: Sender) -> int:
    assert sender._process is not None
    return sender._process.pid


def test_a_tracker_that_is_away_is_reported_once_and_caught_up_with(
    run: RunDirectory, heard: Path, ended: Any, caplog: pytest.LogCaptureFixture
) -> None:
    down = heard.with_name("down")
    down.touch()
    trouble: list[str] = []
    sender = Sender(run.path, run.title, TOY, trouble.append)
    _until(lambda: trouble)
    _end(sender, "finished")
    assert caplog.messages == [
        f"{TOY} is not available (ConnectionError: nobody answers). Nothing is lost: `codctl sync tiny` sends the rest"
    ]
    ended(run, "finished")
    down.unlink()
    for _ in range(2):
        list(Sync(deadline_s=PATIENCE_S, thorough=False, say=lambda _text: None).work(select(run.root, ["tiny"])))
    assert _steps(heard) == [1, 2]
    assert _statuses(heard) == ["finished"]


def test_a_tracker_that_hangs_keeps_nobody(make_run: Any, heard: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = make_run(mlflow=False, sinks=[TOY], options={TOY: {"file": str(heard), "hang": True}})
    code = (
        "import sys; from codctl.tracking import sender; sender._PATIENCE_S = 1; sender._SEND_EVERY_S = 0.01;"
        "sys.exit(sender.main(sys.argv[1:]))"
    )
    alone = subprocess.Popen([sys.executable, "-c", code, str(run.path), TOY], stdin=subprocess.PIPE)
    sender = Sender(run.path, "tiny", TOY)
    _end(sender, "finished", deadline_s=0.5)
    # The second, if its process has started by then: another one is sending.
    assert f"{TOY} did not finish within 0.5 s" in caplog.text or f"{TOY} did not receive" in caplog.text
    assert alone.wait(PATIENCE_S) == -signal.SIGALRM
    assert alone.stdin
    alone.stdin.close()


def test_without_trackers(tmp_path: Path) -> None:
    config = Config.model_validate({"name": "tiny", "tracking": {"mlflow": False}})
    run = RunDirectory.create_or_continue(tmp_path, config, recipe="tiny", command=["codctl"])
    tracker = Tracker(run, config)
    tracker.log(1, "train", {"loss": 1.0})
    tracker.log(2, "train", {"loss": 0.5}, {"seconds/step": 1.0})
    tracker.rewind("train", 1)
    tracker.finish("finished")
    assert run.metrics_path.read_text().count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny"]
    assert not (run.path / "trackers").exists()


def test_mlflow_cannot_be_imported(make_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    broken = tmp_path / "broken"
    (broken / "mlflow").mkdir(parents=True)
    (broken / "mlflow" / "__init__.py").write_text("raise ImportError('half of it is missing')")
    monkeypatch.setenv("PYTHONPATH", str(broken))
    monkeypatch.setenv(*next(iter(FRESH.items())))  # what is forked has imported the real one
    _end(Sender(make_run().path, "tiny", "mlflow"), "finished")
    assert "MLflow is not available (MLflow cannot be imported (ImportError: half of it is missing))" in caplog.text


def test_a_database_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from codctl.tracking import mlflow_server as server;"
    code += "server.connect(None, Path(sys.argv[1]))"
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stderr=subprocess.DEVNULL)
    _until(lambda: any(_size(path) > 100_000 for path in tmp_path.glob(".mlflow.db.tmp-*")))
    process.kill()
    process.wait()
    assert not (tmp_path / "mlflow.db").exists()
    client = mlflow_server.connect(None, tmp_path)
    assert client.get_experiment_by_name("Default") is not None
    assert {path.name for path in tmp_path.iterdir()} == {".mlflow.lock", "mlflow.db"}


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # a journal that sqlite has just deleted
        return 0


def _until(holds: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
