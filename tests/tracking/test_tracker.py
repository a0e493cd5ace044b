"""The tracker writes to disk first; the mirror is optional."""

from __future__ import annotations

from pathlib import Path

import pytest

from codctl.config.schema import Config
from codctl.runs.directory import RunDirectory
from codctl.tracking import tracker as tracker_module
from codctl.tracking.tracker import Tracker


def _run(tmp_path: Path, *, mlflow: bool) -> tuple[RunDirectory, Config]:
    config = Config.model_validate({"name": "tiny", "tracking": {"mlflow": mlflow}})
    return RunDirectory.create_or_continue(tmp_path, config, recipe="tiny", command=["codctl"]), config


def test_without_mirror(tmp_path: Path) -> None:
    run, config = _run(tmp_path, mlflow=False)
    tracker = Tracker(run, config)
    tracker.log(1, "train", {"loss": 1.0})
    tracker.log(2, "train", {"loss": 0.5}, {"seconds/step": 1.0})
    tracker.rewind("train", 1)
    tracker.artifact(run.path / "config.json")
    tracker.finish("finished")
    assert run.metrics_path.read_text().count("\n") == 1
    assert not (tmp_path / "mlflow.db").exists()


def test_with_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[object, ...]] = []

    class Mirror:
        def __init__(self, *args: object) -> None:
            seen.append(args)

        def notify(self) -> None:
            assert run.metrics_path.exists()
            seen.append(("notify",))

        def artifact(self, path: Path, folder: str = "") -> None:
            seen.append(("artifact", path.name, folder))

        def finish(self, status: str) -> None:
            seen.append(("finish", status))

    run, config = _run(tmp_path, mlflow=True)
    monkeypatch.setattr(tracker_module, "MlflowMirror", Mirror)
    tracker = Tracker(run, config)
    tracker.log(1, "train", {"loss": 1.0})
    tracker.finish("failed")
    uri, experiment, name, folder, params = seen[0]
    assert (uri, experiment, name, folder) == (None, "codctl", "tiny", run.path)
    assert isinstance(params, dict)
    assert params["train.loss.kind"] == "rec"
    assert params["digest"] == run.manifest()["digest"]
    assert seen[1:] == [("artifact", "config.json", ""), ("notify",), ("finish", "failed")]
