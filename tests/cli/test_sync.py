"""codctl sync as its user sees it."""

from __future__ import annotations

import errno
import json
import os
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
    assert (
        found.json["result"]["runs"][0]["note"] == "no tracker is switched on for it (tracking.mlflow, tracking.sinks)"
    )
    assert not (home / "runs" / "off" / "trackers").exists()


def test_no_such_run(cli: Any, home: Path) -> None:
    _run(home, "tiny")
    found = cli("sync", "tinny")
    assert found.code == 2
    assert "no run named 'tinny'" in found.err
    assert "did you mean tiny?" in found.err


def test_the_server_is_away(cli: Any, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = _nowhere()
    for name in ("a", "b"):
        _run(home, name, mlflow_uri=uri)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    found = cli("sync")
    assert found.code == 7
    assert f"error: {uri}: MLflow cannot be reached" in found.err
    assert "when it can be reached again, repeat the command: nothing is lost" in found.err
    error = cli("sync", "a", "--json").json["error"]
    assert (error["kind"], error["where"]) == ("backend", uri)


def test_a_server_that_only_the_folder_names(cli: Any, home: Path) -> None:
    _run(home, "gift", mlflow_uri="http://stranger:5000")
    found = cli("sync")
    assert found.code == 7
    assert "http://stranger:5000 is not contacted: only the run's folder names this tracker" in found.err
    assert "→ if you trust it: export MLFLOW_TRACKING_URI=http://stranger:5000" in found.err


def test_a_file_system_without_locks(cli: Any, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    run = _run(home, "tiny")
    (run.path / "lock").touch()
    monkeypatch.setattr("fcntl.flock", no_locks)
    found = cli("sync")
    assert found.code == 7
    assert f"error: {run.path.relative_to(home)}/trackers/mlflow.lock: cannot lock: No locks available" in found.err
    assert cli("status").code == 0
    (run.path / "stages" / "cod_train" / "checkpoints").mkdir(parents=True)
    cleaned = cli("runs", "clean", "--checkpoints", "--yes")
    assert "Traceback" not in cleaned.err


def test_paths_that_are_not_utf8(cli: Any, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    strange = home / os.fsdecode(b"b\xff")
    for command in (["status", "--runs-dir", str(strange)], ["env", "generate", "frozen_lake", "--out", str(strange)]):
        found = cli(*command)
        assert found.code == 2
        assert found.err.startswith(f"error: {home}/b\\xff: not valid UTF-8; rename the file or folder")
    strange.mkdir()
    monkeypatch.chdir(strange)
    found = cli("train", "tiny", "--dry-run")
    assert found.code == 2
    assert f"{home}/b\\xff/runs: not valid UTF-8" in found.err
    assert "→ choose another runs folder with --runs-dir DIR" in found.err


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
    assert "numbers 1, files 1, status finished" in first.out
    assert "1 of 1  tiny to MLflow: numbers 1" in first.err
    [found] = cli("sync", "--json").json["result"]["runs"]
    assert (found["tracker"], found["sent"]) == ("mlflow", {"points": 0, "evaluations": 0, "files": 0, "status": ""})
