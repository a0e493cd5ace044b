"""Which trackers a recipe has, and the two that write files: what is there is continued, and never doubled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codctl.config.schema import TrackingConfig
from codctl.errors import PreflightError, UsageError
from codctl.runs.directory import RunDirectory
from codctl.tracking import sinks
from codctl.tracking.sync import Sync, select

pytestmark = pytest.mark.filterwarnings("ignore")


def _sync(run: RunDirectory) -> None:
    list(Sync(deadline_s=120, thorough=False, say=lambda _text: None).work(select(run.root, [run.name])))


def test_names() -> None:
    assert sinks.names(TrackingConfig()) == ("mlflow",)
    assert sinks.names(TrackingConfig(sinks=("wandb", "mlflow", "wandb"))) == ("mlflow", "wandb")
    assert sinks.names(TrackingConfig(mlflow=False)) == ()


def test_a_missing_package_and_an_unknown_name_are_refused_before_work_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(PreflightError) as missing:
        sinks.check_installed(TrackingConfig(mlflow=False, sinks=("wandb",)))
    assert missing.value.message == "Weights & Biases needs the package wandb, which is not installed"
    assert (missing.value.where, missing.value.hint) == (
        "tracking.sinks",
        "pip install 'codctl[wandb]', or leave this tracker out",
    )
    with pytest.raises(UsageError, match="wandb"):
        sinks.check_installed(TrackingConfig(mlflow=False, sinks=("wandbb",)))


def _in_tensorboard(folder: Path) -> Counter[tuple[str, int]]:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    files = folder.glob("events.out.tfevents.*")
    events = [event for path in files for event in EventFileLoader(str(path)).Load()]
    return Counter((value.tag, event.step) for event in events for value in event.summary.value)


def test_tensorboard(
    make_run: Any, ended: Callable[..., None], logged: Callable[..., None], evaluate: Callable[..., None], on_disk: Any
) -> None:
    pytest.importorskip("tensorboard")
    run = make_run(mlflow=False, sinks=["tensorboard"])
    ended(run, "failed")
    evaluate(run, "suites/loops")
    _sync(run)
    (first,) = (run.path / "tensorboard").glob("events*")
    first.write_bytes(first.read_bytes()[:-5])  # as a crash leaves it
    logged(run, 4, 6)
    evaluate(run, "suites/loops", failed_episodes=3)
    _sync(run)
    points = {(key, step) for key, values in on_disk(run).items() for step, _ in values}
    assert _in_tensorboard(run.path / "tensorboard") == Counter(points)
    curves = _in_tensorboard(run.path / "tensorboard" / "suites-loops")
    assert curves["own/success", 1] == curves["failed_episodes", 0] == 1


def _in_wandb(runs_dir: Path) -> Counter[tuple[str, int]]:
    from codctl.tracking.wandb_sink import _rows

    (run_id,) = {path.stem.removeprefix("run-") for path in runs_dir.glob("wandb/offline-run-*/run-*.wandb")}
    found = [
        (key, row[f"{key.partition('/')[0]}/step"]) for row in _rows(runs_dir, run_id) for key in row if "/" in key
    ]
    return Counter((key, step) for key, step in found if not key.endswith("/step") or key == "train/seconds/step")


def test_wandb_offline(
    make_run: Any, ended: Callable[..., None], logged: Callable[..., None], evaluate: Callable[..., None], on_disk: Any
) -> None:
    pytest.importorskip("wandb")
    run = make_run(mlflow=False, sinks=["wandb"], options={"wandb": {"mode": "offline"}}, steps=90)
    ended(run, "failed")
    evaluate(run, "suites/loops")
    _sync(run)
    (first,) = run.root.glob("wandb/offline-run-*/*.wandb")
    content = first.read_bytes()
    assert len(content) > 40_000
    assert b"PRIVATE" not in content
    first.write_bytes(content[:33_000])  # a killed process leaves whole blocks at most
    kept = _in_wandb(run.root)
    logged(run, 91, 92)
    _sync(run)
    points = {(key, step) for key, values in on_disk(run).items() for step, _ in values}
    assert 0 < len(kept) < len(points)
    assert _in_wandb(run.root) == Counter(points)
    saved = [path.name for path in run.root.glob("wandb/offline-run-*/files/**/*.json")]
    assert sorted(set(saved)) == ["config.json", "result.json"]
