"""Runs made of files alone, and a database that is made once."""

from __future__ import annotations

import json
import shutil
import warnings
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codctl.config.schema import Config
from codctl.runs.directory import RunDirectory
from codctl.tracking import mlflow_server, sinks
from codctl.tracking.jsonl import MetricsLog
from codctl.tracking.points import flat
from tests.results import made

_OURS = ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "WANDB_MODE", "CODCTL_TRUSTED")
_SET = ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in (*_OURS, *_SET):
        monkeypatch.setenv(name, "1")  # so that what a test changes is taken back
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database: MLflow takes seconds over its tables."""
    folder = tmp_path_factory.mktemp("tables")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow_server.connect(None, folder)
    return folder / "mlflow.db"


@pytest.fixture
def runs_dir(tmp_path: Path, tables: Path) -> Path:
    """A runs folder whose sqlite file is there."""
    folder = tmp_path / "runs"
    folder.mkdir()
    shutil.copy(tables, folder / "mlflow.db")
    return folder


MakeRun = Callable[..., RunDirectory]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """A run as training leaves it, but for its models."""

    def make(name: str = "tiny", *, steps: int = 3, sweep: Path | None = None, **tracking: Any) -> RunDirectory:
        config = Config.model_validate({"name": name, "tracking": {"experiment": tmp_path.name, **tracking}})
        sinks.remember([config.tracking])  # as `codctl train` does
        run = RunDirectory.create_or_continue(tmp_path / "runs", config, recipe="tiny", command=["codctl"], sweep=sweep)
        train(run, 1, steps)
        return run

    return make


def train(run: RunDirectory, first: int, last: int) -> None:
    """Log steps as CoD-Train does."""
    log = MetricsLog(run.metrics_path)
    for step in range(first, last + 1):
        metrics = {"loss": 1 / step, "bad": float("nan"), "success/position_0": step / 7}
        log.append(step, "train", metrics, {"seconds/step": 0.5})
        if step % 2 == 0:
            log.append(step, "validation", {"success/position_0": 0.5})


@pytest.fixture
def logged() -> Callable[[RunDirectory, int, int], None]:
    return train


def attempt(run: RunDirectory, outcome: str) -> None:
    """Leave the record of an attempt that ended like this; `died` leaves one that never ended."""
    folder = run.path / "attempts" / "001"
    folder.mkdir(parents=True, exist_ok=True)
    ended = None if outcome == "died" else "2026-11-21T12:00:00+00:00"
    record = {"number": 1, "started": "2026-11-21T11:00:00+00:00", "ended": ended, "pid": 1, "host": "h"}
    recorded = "running" if outcome == "died" else outcome
    (folder / "attempt.json").write_text(json.dumps({**record, "outcome": recorded, "message": ""}))


@pytest.fixture
def ended() -> Callable[[RunDirectory, str], None]:
    return attempt


@pytest.fixture
def in_mlflow() -> Callable[[Any, RunDirectory], dict[str, list[tuple[int, float]]]]:
    """All that MLflow holds of a run's numbers: of each key every point, doubled ones too."""

    def read(client: Any, run: RunDirectory) -> dict[str, list[tuple[int, float]]]:
        run_id = json.loads((run.path / "trackers" / "mlflow.json").read_text())["memory"]["run_id"]
        keys = client.get_run(run_id).data.metrics
        return {key: sorted((m.step, m.value) for m in client.get_metric_history(run_id, key)) for key in keys}

    return read


@pytest.fixture
def on_disk() -> Callable[[RunDirectory], dict[str, list[tuple[int, float]]]]:
    """The same from metrics.jsonl."""

    def read(run: RunDirectory) -> dict[str, list[tuple[int, float]]]:
        found = defaultdict(list)
        for record in MetricsLog(run.metrics_path).read():
            for key, value in flat(record).items():
                found[key].append((record["step"], value))
        return dict(found)

    return read


def _point(position: int, mean: float) -> dict[str, float]:
    return {"position": position, "mean": mean, "low": 0.0, "high": 1.0}


PART = {
    "arms": {
        "own": {"success": [_point(0, 0.25), _point(1, 0.75)]},
        "none": {"success": [_point(0, 0.25), _point(1, 0.2)]},
    },
    "gain": {"own": {"from": 0, "to": 1, "mean": 0.5, "low": 0.4, "high": 0.6}},
}


@pytest.fixture
def evaluate() -> Callable[..., None]:
    """Leave an evaluation's result in a run."""

    def write(run: RunDirectory, place: str, **changes: Any) -> None:
        folder = run.path / place
        folder.mkdir(parents=True, exist_ok=True)
        result = made.result_json(*changes.pop("parts", [PART]), **{"digest": "d1", **changes})
        (folder / "result.json").write_text(json.dumps(result))

    return write
