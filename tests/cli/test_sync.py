"""codctl sync as its user sees it."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from codctl.config.schema import Config
from codctl.runs.directory import RunDirectory
from codctl.tracking.jsonl import MetricsLog

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow and its friends warn about each other


def _run(home: Path, name: str, **tracking: Any) -> RunDirectory:
    config = Config.model_validate({"name": name, "tracking": tracking})
    run = RunDirectory.create_or_continue(home / "runs", config, recipe="tiny", command=["codctl"])
    MetricsLog(run.metrics_path).append(1, "train", {"loss": 1.0})
    folder = run.path / "attempts" / "001"
    folder.mkdir(parents=True)
    (folder / "attempt.json").write_text(json.dumps({"outcome": "finished", "ended": None}))
    return run


def _nowhere() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{found.getsockname()[1]}"


def test_nothing_to_do(cli: Any, home: Path) -> None:
    assert cli("sync").out == "no runs in runs\n"
    _run(home, "off", mlflow=False)
    found = cli("sync", "--json")
    assert found.code == 0
    assert found.json["result"]["runs"][0]["note"] == "MLflow is switched off for this run (tracking.mlflow)"
    assert not (home / "runs" / "off" / "mlflow.json").exists()


def test_no_such_run(cli: Any, home: Path) -> None:
    _run(home, "tiny")
    found = cli("sync", "tinny")
    assert found.code == 2
    assert "no run named 'tinny'" in found.err
    assert "did you mean tiny?" in found.err


def test_the_server_is_away(cli: Any, home: Path) -> None:
    uri = _nowhere()
    for name in ("a", "b"):
        _run(home, name, mlflow_uri=uri)
    found = cli("sync")
    assert found.code == 7
    assert f"error: {uri}: MLflow cannot be reached" in found.err
    assert "start the server, or correct tracking.mlflow_uri; then repeat the command" in found.err
    error = cli("sync", "a", "--json").json["error"]
    assert (error["kind"], error["where"]) == ("backend", uri)


def test_a_password_is_refused_and_repeated_nowhere(cli: Any, home: Path, micro: str) -> None:
    found = cli("train", micro, "tracking.mlflow=true", "tracking.mlflow_uri=http://me:hidden@host")
    assert found.code == 2
    assert "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead" in found.err
    assert "hidden" not in found.out + found.err
    assert not (home / "runs").exists()


def test_sent_once(cli: Any, home: Path) -> None:
    _run(home, "tiny")
    first = cli("sync", "tiny")
    assert first.code == 0
    assert "numbers 1, files 1, status FINISHED" in first.out
    assert "connecting to sqlite:///" in first.err
    assert cli("sync", "--json").json["result"]["runs"][0]["sent"] == {
        "made": 0,
        "params": 0,
        "points": 0,
        "evaluations": 0,
        "artifacts": 0,
        "removed": 0,
        "status": "",
    }
