"""MLflow mirrors the run when it can, and costs a warning when it cannot."""

from __future__ import annotations

import builtins
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from codctl.tracking import mlflow as mirror_module
from codctl.tracking.jsonl import MetricsLog
from codctl.tracking.mlflow import MlflowMirror

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow and its friends warn about each other


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in mirror_module._ENVIRONMENT.items():
        monkeypatch.setenv(key, value)


@pytest.fixture
def run_dir(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "runs" / "tiny"
    path.mkdir(parents=True)
    return path


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh database, made by the mirror itself: MLflow takes seconds over its tables."""
    run_dir = tmp_path_factory.mktemp("mlflow") / "runs" / "first"
    run_dir.mkdir(parents=True)
    mirror = MlflowMirror(None, "other", "first", run_dir)
    mirror.finish("finished", deadline_s=60)
    return run_dir.parent / "mlflow.db"


def _mirror(run_dir: Path, uri: str | None = None) -> MlflowMirror:
    return MlflowMirror(uri, "codctl", "tiny", run_dir, {"digest": "abc", "train.lr": 1e-3})


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "codctl"]


def test_missing_mlflow(run_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    real = builtins.__import__

    def blocked(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] == "mlflow":
            raise ModuleNotFoundError("No module named 'mlflow'")
        return real(name, *args, **kwargs)

    for name in [name for name in sys.modules if name.split(".")[0] == "mlflow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", blocked)
    mirror = _mirror(run_dir)
    for _ in range(3):
        mirror.notify()
    mirror.artifact(run_dir / "x")
    mirror.finish("finished")
    assert len(_warnings(caplog)) == 1
    assert "MLflow cannot be imported (ModuleNotFoundError: No module named 'mlflow')" in _warnings(caplog)[0]


@pytest.mark.parametrize("uri", ["sqlite:////dev/null/x.db", "nonsense://x", "http://127.0.0.1:9"])
def test_broken_uri(run_dir: Path, caplog: pytest.LogCaptureFixture, uri: str) -> None:
    log = MetricsLog(run_dir / "metrics.jsonl")
    mirror = _mirror(run_dir, uri)
    started = time.monotonic()
    for step in range(3):
        log.append(step, "train", {"loss": 1.0})
        mirror.notify()
    assert time.monotonic() - started < 3
    mirror.finish("finished", deadline_s=60)
    assert len(_warnings(caplog)) == 1
    assert "The run goes on" in _warnings(caplog)[0]
    assert len(log.read()) == 3


class _FakeClient:
    """Enough of MlflowClient to be slow, or to fail for a while."""

    delay_s = 0.0
    failures = 0

    def __init__(self, **_: Any) -> None:
        self.metrics: list[Any] = []

    def log_batch(self, _run_id: str, metrics: Any = (), params: Any = ()) -> None:
        if metrics and type(self).failures:
            type(self).failures -= 1
            raise ConnectionError("server is away")
        time.sleep(self.delay_s)
        self.metrics.extend(metrics)

    def get_metric_history(self, _run_id: str, key: str) -> list[Any]:
        return [metric for metric in self.metrics if metric.key == key]

    def set_terminated(self, _run_id: str, status: str) -> None:
        self.status = status


def _fake(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> _FakeClient:
    for key, value in settings.items():
        monkeypatch.setattr(_FakeClient, key, value)
    client = _FakeClient()

    def connect(self: MlflowMirror) -> None:
        self._client, self._run_id = client, "r"
        self._sent = self._already_there()

    monkeypatch.setattr(MlflowMirror, "_connect", connect)
    return client


def test_slow_server_costs_no_time(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _fake(monkeypatch, delay_s=5.0)
    log, mirror = MetricsLog(run_dir / "metrics.jsonl"), _mirror(run_dir)
    started = time.monotonic()
    for step in range(20):
        log.append(step, "train", {"loss": 1.0})
        mirror.notify()
    mirror.finish("finished", deadline_s=0.2)
    assert time.monotonic() - started < 4
    assert "did not keep up within 0.2 s" in _warnings(caplog)[0]


def test_server_that_comes_back_gets_everything(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mirror_module, "_RETRY_S", 0.0)
    client = _fake(monkeypatch, failures=2)
    log, mirror = MetricsLog(run_dir / "metrics.jsonl"), _mirror(run_dir)
    for step in range(10):
        log.append(step, "train", {"loss": 1.0})
        mirror.notify()
        time.sleep(0.01)
    mirror.finish("interrupted")
    assert [metric.step for metric in client.metrics] == list(range(10))
    assert client.status == "KILLED"
    assert len(_warnings(caplog)) == 1


def test_real_sqlite_shows_each_step_once_after_rewind_and_resume(
    run_dir: Path, migrated: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from mlflow import MlflowClient

    shutil.copy(migrated, run_dir.parent / "mlflow.db")
    log = MetricsLog(run_dir / "metrics.jsonl")
    (run_dir / "config.json").write_text("{}")
    first = _mirror(run_dir)
    first.artifact(run_dir / "config.json")
    for step in (1, 2, 3):
        log.append(step, "train", {"loss": 1 / step, "bad": float("nan")}, {"seconds/step": 0.5})
        first.notify()
    first.finish("failed", deadline_s=60)
    client = MlflowClient(tracking_uri=f"sqlite:///{run_dir.parent / 'mlflow.db'}")
    assert _status(client, run_dir) == "FAILED"

    second = _mirror(run_dir)
    log.rewind("train", 2)
    for step in (3, 4):
        log.append(step, "train", {"loss": 1 / step, "new": 1.0}, {"seconds/step": 0.5})
        second.notify()
    second.finish("finished", deadline_s=60)
    run_id = _run_id(run_dir)
    assert [m.step for m in client.get_metric_history(run_id, "train/loss")] == [1, 2, 3, 4]
    assert [m.step for m in client.get_metric_history(run_id, "train/new")] == [3, 4]
    assert [m.step for m in client.get_metric_history(run_id, "train/seconds/step")] == [1, 2, 3, 4]
    assert _status(client, run_dir) == "FINISHED"
    assert client.get_run(run_id).data.params == {"digest": "abc", "train.lr": "0.001"}
    assert [file.path for file in client.list_artifacts(run_id)] == ["config.json"]
    assert len(client.search_runs([client.get_experiment_by_name("codctl").experiment_id])) == 1
    assert (run_dir.parent / "mlflow-artifacts").is_dir()
    assert _warnings(caplog) == []


def test_deleted_mlflow_run_is_replaced(run_dir: Path, migrated: Path) -> None:
    from mlflow import MlflowClient

    shutil.copy(migrated, run_dir.parent / "mlflow.db")
    log = MetricsLog(run_dir / "metrics.jsonl")
    log.append(1, "train", {"loss": 1.0})
    _finish(_mirror(run_dir))
    old = _run_id(run_dir)
    client = MlflowClient(tracking_uri=f"sqlite:///{run_dir.parent / 'mlflow.db'}")
    client.delete_run(old)
    _finish(_mirror(run_dir))
    assert _run_id(run_dir) != old
    assert [m.step for m in client.get_metric_history(_run_id(run_dir), "train/loss")] == [1]


def _finish(mirror: MlflowMirror) -> None:
    mirror.notify()
    mirror.finish("finished", deadline_s=60)


def _run_id(run_dir: Path) -> str:
    import json

    return json.loads((run_dir / "mlflow.json").read_text())["run_id"]


def _status(client: Any, run_dir: Path) -> str:
    return client.get_run(_run_id(run_dir)).info.status
