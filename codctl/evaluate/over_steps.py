"""Stage: a suite on every saved model of a run, on the same packs, as one curve over the steps of CoD-Train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from codctl import __version__
from codctl.config.resources import with_resources
from codctl.errors import StageError
from codctl.evaluate.subject import subject_of
from codctl.evaluate.suite import EvalPlan, folder_name, plan, run_suite
from codctl.evaluate.suite_result import PAGE
from codctl.files.atomic import make_folder, write_text
from codctl.report.steps_page import render
from codctl.results import replies
from codctl.runs import eval_result, machine
from codctl.runs.directory import RunDirectory
from codctl.runs.eval_result import (
    EVERY,
    HEAD,
    RESULT,
    EvalResult,
    PartHead,
    PartResult,
    StepPoint,
    StepsHead,
    StepsModel,
    StepsPart,
    StepsResult,
    Subject,
)
from codctl.runs.evaluations import EVALUATIONS
from codctl.runs.progress import Progress
from codctl.seeds import text_digest
from codctl.train.saved_models import SavedModel, saved_models


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
    plans: tuple[EvalPlan, ...]
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
    digest = text_digest(" ".join(one.digest for one in plans))
    name = folder_name(run.title, EVERY, plans[0].suite.name, digest)
    return StepsPlan(run, plans, digest, runs_dir / EVALUATIONS / name, command)


def run_every(planned: StepsPlan, progress: Progress, *, fresh: bool = False) -> StepsResult:
    """Play what is missing of each model, and write the curve and its page.

    Raises:
        CodctlError: As `run_suite`. What was played is kept.
    """
    results = []
    for one in planned.plans:
        title = one.subject.describe().model
        results.append(run_suite(one, _Named(progress, title), fresh=fresh))
    head = _head(planned, results)
    parts = tuple(_part(number, results) for number in range(len(results[0].parts)))
    result = StepsResult(**vars(head), parts=parts)
    make_folder(planned.folder)
    eval_result.write(planned.folder / HEAD, head)
    write_text(planned.folder / PAGE, render(result))
    eval_result.write(planned.folder / RESULT, result)
    return result


def _once(models: Sequence[SavedModel]) -> list[SavedModel]:
    """One model for each step: the final model is the checkpoint of its step."""
    return list({model.step: model for model in models}.values())


def _head(planned: StepsPlan, results: Sequence[EvalResult]) -> StepsHead:
    suite = planned.plans[0].suite
    return StepsHead(
        suite=suite.name,
        description=suite.description,
        digest=planned.digest,
        subject=Subject(kind="run", name=planned.run.title, checkpoint=EVERY, models=len(results)),
        folder=str(planned.folder),
        command=list(planned.command),
        codctl_version=__version__,
        machine=machine.describe(),
        seconds=round(sum(result.seconds for result in results), 3),
        failed_episodes=sum(result.failed_episodes for result in results),
        to_play_again=sum(result.to_play_again for result in results),
        warnings=tuple(
            f"step {result.subject.step}: {line}"
            for result in results
            for part in result.parts
            for line in replies.sentences(part)
        ),
        models=tuple(StepsModel(**vars(result.subject), evaluation=result.folder) for result in results),
    )


def _part(number: int, results: Sequence[EvalResult]) -> StepsPart:
    """One part of the suite: for each arm its success by step."""
    parts = [(result.subject.step or 0, result.parts[number]) for result in results]
    first = parts[0][1]
    return StepsPart(
        **{name.name: getattr(first, name.name) for name in fields(PartHead)},
        rendering=first.rendering,
        split=first.split,
        positions=first.positions,
        arms={arm: tuple(_point(step, arm, part) for step, part in parts) for arm in first.arms},
        ceiling_curves=first.ceiling_curves,
    )


def _point(step: int, arm: str, part: PartResult) -> StepPoint:
    graded = part.graded
    reward, share = (graded.raw_reward.get(arm, ()), graded.share.get(arm, ())) if graded else ((), ())
    return StepPoint(step, part.success(arm), part.gain.get(arm), reward, share)


class _Named:
    """Says before each phase which model it is about."""

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress, self._name = progress, name

    def update(self, phase: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
        self._progress.update(f"{self._name}: {phase}", done, total, metrics)

    def message(self, text: str) -> None:
        self._progress.message(f"{self._name}: {text}")
