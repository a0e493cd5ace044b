"""Stage: a suite on every saved model of a run, on the same packs, as one curve over the steps of CoD-Train."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from codctl import __version__
from codctl.config.resources import with_resources
from codctl.errors import StageError
from codctl.evaluate.subject import subject_of
from codctl.evaluate.suite import Plan, folder_name, plan, run_suite
from codctl.files.atomic import make_folder, write_json, write_text
from codctl.report.steps_page import render
from codctl.results import replies
from codctl.results.about import EVERY, subject_title
from codctl.runs import machine
from codctl.runs.directory import RunDirectory
from codctl.runs.evaluations import ABOUT, EVALUATIONS, RESULT
from codctl.runs.progress import Progress
from codctl.train.saved_models import SavedModel, saved_models

_PART = ("name", "family", "preset", "variant", "strategy", "rendering", "split", "packs", "length", "positions")


@dataclass(frozen=True)
class StepsPlan:
    """What will be played, and where the sum lies.

    Attributes:
        run: The run.
        plans: One for each model, by step.
        digest: Of all of them.
        folder: Where the curve goes; each model's own evaluation has a folder of its own.
        command: As typed.
    """

    run: RunDirectory
    plans: tuple[Plan, ...]
    digest: str
    folder: Path
    command: Sequence[str]


def plan_every(
    run: RunDirectory,
    suite: str,
    overrides: Sequence[str],
    runs_dir: Path,
    command: Sequence[str],
    resources: Sequence[str] = (),
) -> StepsPlan:
    """Work out what a suite means for each saved model of a run. Nothing is written.

    Args:
        run: The run.
        suite: Name or file.
        overrides: Keys of the evaluation, `key=value` each.
        runs_dir: Where runs are kept.
        command: As typed.
        resources: Resource keys of a recipe, `key=value` each.

    Raises:
        StageError: The run has saved no model yet.
        UsageError: As `plan`.
    """
    config = run.config()
    models = _once(saved_models(run, config))
    if not models:
        raise StageError(f"run {run.title!r} has saved no model yet", where=str(run.path))
    subjects = [subject_of(run, config, model) for model in models]
    if resources:
        changed = with_resources(subjects[0].settings, resources)
        subjects = [replace(subject, resources=changed) for subject in subjects]
    plans = tuple(plan(subject, suite, overrides, runs_dir, command) for subject in subjects)
    digest = hashlib.sha256(" ".join(one.digest for one in plans).encode()).hexdigest()[:16]
    name = folder_name(run.title, EVERY, plans[0].suite.name, digest)
    return StepsPlan(run, plans, digest, runs_dir / EVALUATIONS / name, command)


def run_every(planned: StepsPlan, progress: Progress, *, fresh: bool = False) -> dict[str, Any]:
    """Play what is missing of each model, and write the curve and its page.

    Raises:
        CodctlError: As `run_suite`. What was played is kept.
    """
    results = []
    for one in planned.plans:
        title = one.subject.describe()["title"]
        results.append(run_suite(one, _Named(progress, title.partition(", ")[2]), fresh=fresh))
    result = _sum_up(planned, results)
    make_folder(planned.folder)
    write_json(planned.folder / ABOUT, {key: value for key, value in result.items() if key != "parts"})
    write_text(planned.folder / "report.html", render(result))
    write_json(planned.folder / RESULT, result)
    return result


def _once(models: Sequence[SavedModel]) -> list[SavedModel]:
    """One model for each step: the final model is the checkpoint of its step."""
    return list({model.step: model for model in models}.values())


def _sum_up(planned: StepsPlan, results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    suite = planned.plans[0].suite
    subject = {"kind": "run", "name": planned.run.title, "checkpoint": EVERY, "models": len(results)}
    return {
        "kind": EVERY,
        "suite": suite.name,
        "description": suite.description,
        "digest": planned.digest,
        "subject": {**subject, "title": subject_title(subject)},
        "folder": str(planned.folder),
        "command": list(planned.command),
        "codctl_version": __version__,
        "machine": machine.describe(),
        "seconds": round(sum(result["seconds"] for result in results), 3),
        "failed_episodes": sum(result["failed_episodes"] for result in results),
        "to_play_again": sum(result["to_play_again"] for result in results),
        "warnings": [
            f"step {result['subject']['step']}: {line}"
            for result in results
            for part in result["parts"]
            for line in replies.sentences(part)
        ],
        "models": [{**result["subject"], "evaluation": result["folder"]} for result in results],
        "parts": [_part(number, results) for number in range(len(results[0]["parts"]))],
    }


def _part(number: int, results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One part of the suite: for each arm its success by step."""
    parts = [result["parts"][number] for result in results]
    steps = [result["subject"]["step"] for result in results]
    arms = {
        arm: [
            {
                "step": step,
                "success": part["arms"][arm]["success"],
                **({"gain": part["gain"][arm]} if arm in part.get("gain", {}) else {}),
            }
            for step, part in zip(steps, parts, strict=True)
        ]
        for arm in parts[0]["arms"]
    }
    return {**{key: parts[0][key] for key in _PART}, "arms": arms, "ceiling_curves": parts[0]["ceiling_curves"]}


class _Named:
    """Says before each phase which model it is about."""

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress, self._name = progress, name

    def update(self, phase: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
        self._progress.update(f"{self._name}: {phase}", done, total, metrics)

    def message(self, text: str) -> None:
        self._progress.message(f"{self._name}: {text}")
