"""What a finished training found, read from its folder: nothing is loaded, nothing is played."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from codctl.config.schema import Config
from codctl.errors import UsageError
from codctl.files.seal import is_sealed, read_info
from codctl.results import outcomes
from codctl.results.points import means
from codctl.results.replies import sentences
from codctl.runs import result_file
from codctl.runs.directory import RunDirectory


def finished_result(run: RunDirectory, config: Config) -> dict[str, Any] | None:
    """The result of a finished run, as the command that finished it gave it; None when a part is missing or damaged.

    Args:
        run: The run.
        config: What is asked for: the run's own config, or one with the same digest.
    """
    if run.status() != "finished" or not all(is_sealed(folder, verify=True) for folder in _folders(run, config)):
        return None
    evaluations = {name: _read(run.stage("evaluation") / name) for name in _evaluations(config)}
    return {"status": "finished", **result_of(run, evaluations)}


def result_of(run: RunDirectory, evaluations: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Paths and numbers of a training.

    Args:
        run: The run.
        evaluations: Its results by name.

    Returns:
        `run` and `report` (paths); by evaluation `metrics` and `ceilings` (success by position of each arm and each
        reference; None where nothing could be played), `why` (where the outcomes explain them), `warnings` (about
        replies that could not be used), and `steps` (of training that the evaluated model had).
    """
    report = run.path / "report.html"
    return {
        "run": str(run.path),
        "report": str(report) if report.is_file() else None,
        "metrics": {name: _means(found["arms"], "success") for name, found in evaluations.items()},
        "ceilings": {name: _curves(found["ceiling_curves"]) for name, found in evaluations.items()},
        "why": {name: outcomes.sentences(found) for name, found in evaluations.items()},
        "warnings": {name: sentences(found, "sampling.") for name, found in evaluations.items()},
        "steps": {name: read_info(run.stage("evaluation") / name).get("step") for name in evaluations},
    }


def _folders(run: RunDirectory, config: Config) -> Iterator[Path]:
    """Sealed folders that a finished run has."""
    if config.model.path is None:
        yield run.stage("model")
    if config.warm_start.enabled:
        yield run.stage("warm_start")
    if config.train.enabled:
        yield run.stage("cod_train") / "final"
    yield from (run.stage("evaluation") / name for name in _evaluations(config))


def _evaluations(config: Config) -> list[str]:
    if not config.evaluation.enabled:
        return []
    names = ["before"] if config.train.enabled else []
    names += ["after", "after-long"] if config.evaluation.long_length else ["after"]
    parts = [part.family for part in config.world.parts]
    return [f"{name}-{family}" for name in names for family in parts] if config.world.mixture else names


def _read(folder: Path) -> dict[str, Any]:
    found = result_file.read(folder / "result.json")
    if found is None:
        raise UsageError("result.json is missing", where=str(folder))
    return found


def _means(arms: Mapping[str, Any], measure: str) -> dict[str, list[float | None]]:
    return _curves({arm: curves[measure] for arm, curves in arms.items()})


def _curves(curves: Mapping[str, Any]) -> dict[str, list[float | None]]:
    return {name: [*map(_rounded, means(curve))] for name, curve in curves.items()}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
