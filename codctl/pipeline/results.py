"""What a finished training found, read from its folder: nothing is loaded, nothing is played."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from codctl.config.schema import Config
from codctl.errors import UsageError
from codctl.files.seal import is_sealed
from codctl.results import outcomes
from codctl.results.kept import kept_of, teachers_evaluations
from codctl.results.replies import sentences
from codctl.runs import eval_result
from codctl.runs.directory import RunDirectory
from codctl.runs.eval_result import Curve, EvalResult, means


def finished_result(run: RunDirectory, config: Config) -> dict[str, Any] | None:
    """The result of a finished run, as the command that finished it gave it; None when a part is missing or damaged.

    Args:
        run: The run.
        config: What is asked for: the run's own config, or one with the same digest.
    """
    if run.status() != "finished" or not all(is_sealed(folder, verify=True) for folder in _folders(run, config)):
        return None
    evaluations = {name: _read(run.evaluations / name) for name in _evaluations(config)}
    return {"status": "finished", **result_of(run, config, evaluations)}


def result_of(run: RunDirectory, config: Config, evaluations: Mapping[str, EvalResult]) -> dict[str, Any]:
    """Paths and numbers of a training.

    Args:
        run: The run.
        config: Its recipe.
        evaluations: Its results by name; a part of a mixture is then called `<name>-<family>`.

    Returns:
        `run` and `report` (paths); by evaluation `metrics` and `ceilings` (success by position of each arm and each
        reference; None where nothing could be played), `why` (where the outcomes explain them), `warnings` (about
        replies that could not be used), `steps` (of training that the evaluated model had), and of a distillation
        `kept` (how much of its teacher the student keeps in each family).
    """
    report = run.path / "report.html"
    kept = kept_of(config, evaluations)
    found = {
        name if len(result.parts) == 1 else f"{name}-{part.family}": (result.subject.step, part)
        for name, result in evaluations.items()
        for part in result.parts
    }
    return {
        "run": str(run.path),
        "report": str(report) if report.is_file() else None,
        "metrics": {
            name: _rounded({arm: curves.success for arm, curves in part.arms.items()})
            for name, (_, part) in found.items()
        },
        "ceilings": {name: _rounded(part.ceiling_curves) for name, (_, part) in found.items()},
        "why": {name: outcomes.sentences(part) for name, (_, part) in found.items()},
        "warnings": {name: sentences(part, "sampling.") for name, (_, part) in found.items()},
        "steps": {name: step for name, (step, _) in found.items()},
        **({"kept": [one.as_dict() for one in kept]} if kept else {}),
    }


def _folders(run: RunDirectory, config: Config) -> Iterator[Path]:
    """Sealed folders that a finished run has."""
    if config.model.path is None:
        yield run.stage("model")
    if config.warm_start.enabled:
        yield run.warm_start
    if config.train.enabled:
        yield run.final_model
    yield from (run.evaluations / name for name in _evaluations(config))


def _evaluations(config: Config) -> list[str]:
    if not config.evaluation.enabled:
        return []
    names = ["before"] if config.train.enabled else []
    return [*names, "after", *teachers_evaluations(config), *(["after-long"] if config.evaluation.long_length else [])]


def _read(folder: Path) -> EvalResult:
    found = eval_result.read(folder / eval_result.RESULT)
    if not isinstance(found, EvalResult):
        raise UsageError("result.json is missing", where=str(folder))
    return found


def _rounded(curves: Mapping[str, Curve]) -> dict[str, list[float | None]]:
    """Success by position; None where nothing was played."""
    return {name: [None if mean is None else round(mean, 4) for mean in means(curve)] for name, curve in curves.items()}
