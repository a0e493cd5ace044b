"""The process that mirrors a run while it trains, with a plain sqlite file."""

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
from codctl.tracking import mirror as mirror_module
from codctl.tracking import server
from codctl.tracking.mirror import Mirror
from codctl.tracking.tracker import Tracker
from tests.forked import FRESH

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow and its friends warn about each other

PATIENCE_S = 120.0


def _status(run: RunDirectory) -> str:
    found = json.loads((run.path / "mlflow.json").read_text())
    return server.connect(None, run.root, timeout_s=10).get_run(found["run_id"]).info.status


def test_a_run_is_mirrored_while_it_trains(
    runs_dir: Path,
    make_run: Any,
    mirrored: Callable[..., Any],
    on_disk: Callable[..., Any],
    logged: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = make_run(steps=0)
    tracker = Tracker(run, run.config())
    tracker.log(1, "train", {"loss": 1.0})
    _until(lambda: _sent(run).get("steps") == {"train/loss": 1})
    assert _status(run) == "RUNNING"
    logged(run, 2, 5)
    tracker.finish("cancelled")
    assert mirrored(server.connect(None, runs_dir, timeout_s=10), run) == on_disk(run)
    assert _status(run) == "KILLED"
    assert caplog.records == []


def test_a_run_that_is_killed_is_marked_so(make_run: Any) -> None:
    run = make_run(steps=2)
    code = (
        "import sys, time; from pathlib import Path; from codctl.tracking.mirror import Mirror;"
        "mirror = Mirror(Path(sys.argv[1]), 'tiny'); print(mirror._process.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(run.path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    sender = int(parent.stdout.readline())
    _until(lambda: _sent(run).get("status") == "RUNNING" and _sent(run).get("steps"))
    os.kill(sender, signal.SIGTERM)  # as one to the whole group; its parent decides when it ends
    parent.kill()
    parent.wait()
    parent.stdout.close()
    _until(lambda: _sent(run).get("status") == "KILLED")
    assert _status(run) == "KILLED"
    _until(lambda: not Path(f"/proc/{sender}").exists() or _is_zombie(sender))


def test_a_sender_that_dies_is_started_again_and_in_the_end_reported(
    make_run: Any, logged: Callable[..., None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mirror_module, "_RESTART_AFTER_S", (0.01,))
    run, trouble = make_run(steps=1), []
    mirror = Mirror(run.path, "tiny", trouble.append)
    first = _pid(mirror)
    _until(lambda: _sent(run).get("steps", {}).get("train/loss") == 1)
    os.kill(first, signal.SIGKILL)
    logged(run, 2, 3)
    _until(lambda: _sent(run).get("steps", {}).get("train/loss") == 3)
    assert caplog.messages == ["the process that sends to MLflow was killed by SIGKILL; starting it again"]
    assert trouble == []
    os.kill(_pid(mirror), signal.SIGKILL)
    _until(lambda: trouble)
    assert trouble == ["MLflow gets no more numbers: the process that sends them was killed by SIGKILL again"]
    mirror.finish("finished")
    assert caplog.messages[1:] == [f"{trouble[0]}. Nothing is lost: `codctl sync tiny` sends the rest"]


def _pid(mirror: Mirror) -> int:
    assert mirror._process is not None
    return mirror._process.pid


def test_without_mirror(tmp_path: Path) -> None:
    config = Config.model_validate({"name": "tiny", "tracking": {"mlflow": False}})
    run = RunDirectory.create_or_continue(tmp_path, config, recipe="tiny", command=["codctl"])
    tracker = Tracker(run, config)
    tracker.log(1, "train", {"loss": 1.0})
    tracker.log(2, "train", {"loss": 0.5}, {"seconds/step": 1.0})
    tracker.rewind("train", 1)
    tracker.finish("finished")
    assert run.metrics_path.read_text().count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny"]


def test_a_tracker_that_cannot_be(make_run: Any, caplog: pytest.LogCaptureFixture) -> None:
    run = make_run(uri="sqlite:////dev/null/x.db")
    mirror = Mirror(run.path, "grid/tiny")
    mirror.finish("finished", deadline_s=PATIENCE_S)
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning.startswith("MLflow is not available (")
    assert warning.endswith("Nothing is lost: `codctl sync grid/tiny` sends the rest")


def test_no_mlflow(make_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    broken = tmp_path / "broken"
    (broken / "mlflow").mkdir(parents=True)
    (broken / "mlflow" / "__init__.py").write_text("raise ImportError('half of it is missing')")
    monkeypatch.setenv("PYTHONPATH", str(broken))
    monkeypatch.setenv(*next(iter(FRESH.items())))  # what is forked has imported the real one
    mirror = Mirror(make_run().path, "tiny")
    mirror.finish("finished", deadline_s=PATIENCE_S)
    assert "MLflow cannot be imported (ImportError: half of it is missing)" in caplog.text


def test_a_database_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from codctl.tracking import server;"
        "server.connect(None, Path(sys.argv[1]), timeout_s=10)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stderr=subprocess.DEVNULL)
    _until(lambda: any(_size(path) > 100_000 for path in tmp_path.glob(".mlflow.db.tmp-*")))
    process.kill()
    process.wait()
    assert not (tmp_path / "mlflow.db").exists()
    client = server.connect(None, tmp_path, timeout_s=10)
    assert client.get_experiment_by_name("Default") is not None
    assert {path.name for path in tmp_path.iterdir()} == {".mlflow.lock", "mlflow.db"}


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # a journal that sqlite has just deleted
        return 0


def _sent(run: RunDirectory) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((run.path / "mlflow-sent.json").read_text())
    except FileNotFoundError:
        return {}
    return found


def _is_zombie(pid: int) -> bool:
    return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()


def _until(holds: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
