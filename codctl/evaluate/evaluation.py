"""Stage: the suite `position-curve` on the warm-started and on the trained model, on the worlds of their training."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.config.evalspec import EvalSpec
from codctl.config.freeze import training_digest
from codctl.config.schema import Config
from codctl.config.suite_file import SuiteSpec
from codctl.envs.registry import edition_of
from codctl.errors import RefusedError, StageError
from codctl.evaluate.subject import PolicyUnderTest
from codctl.evaluate.suite import EvalPlan, run_suite
from codctl.files.atomic import make_folder
from codctl.files.seal import COMPLETE, is_whole, read_info
from codctl.results.journal import FileJournal
from codctl.runs.directory import RunDirectory
from codctl.runs.eval_result import EvalResult
from codctl.runs.evaluations import JOURNAL
from codctl.runs.progress import Progress
from codctl.seeds import derive_seed, text_digest
from codctl.train.saved_models import saved_models

if TYPE_CHECKING:
    from codctl.engines.nodes.client import Address
    from codctl.train.teachers import Teacher

SUITE = SuiteSpec("position-curve", "Does success rise with the position in the pack? Worlds of the training.", ())
_EARLIER = Path("stages/earlier")


def evaluate_in_run(
    run: RunDirectory,
    config: Config,
    folder: Path,
    name: str,
    length: int,
    arms: tuple[str, ...],
    progress: Progress,
    *,
    step: int,
    engines: Callable[[], Sequence[Address]] = tuple,
    teacher: Teacher | None = None,
) -> EvalResult:
    """Evaluate a model of the run on test packs of each family it was trained on.

    A sealed result of another model or of other settings is moved to `stages/earlier`, and made anew.

    Args:
        run: The run.
        config: Its recipe.
        folder: Of the model.
        name: Of the evaluation: its folder in `stages/evaluation`.
        length: Tasks in a pack.
        arms: Control contexts.
        progress: Receives phases and messages.
        step: Rollout steps that the model has learned.
        engines: Finds the engines of other nodes.
        teacher: Whose folder it is: then only its families are played.
    """
    parts = tuple(
        _spec(config, number, length, arms)
        for number, world in enumerate(config.world.parts)
        if teacher is None or world.family in teacher.families
    )
    info = {"training": training_digest(config), "evaluation": _settings(parts), "step": step}
    final, digest = run.evaluations / name, text_digest(json.dumps({**info, "name": name}))
    if (final / COMPLETE).exists() and not is_whole(final, progress.message):
        _discard(final)
    elif (final / COMPLETE).exists() and (found := read_info(final)) != info:
        _set_aside(run, final, found, progress)
    elif final.exists() and not (final / COMPLETE).exists() and not _can_continue(final, digest):
        _discard(final)
    subject, command = _subject(run, config, folder), run.manifest()["command"]
    if teacher is not None:
        subject = PolicyUnderTest("model", teacher.name, folder, config)
    plan = EvalPlan(subject, SUITE, parts, digest, final, command, run=run, info=info, engines=engines)
    return run_suite(plan, progress)


def _spec(config: Config, part: int, length: int, arms: tuple[str, ...]) -> EvalSpec:
    world = config.world.parts[part]
    return EvalSpec(
        name=f"curve/{world.label}",
        family=world.family,
        preset=world.preset,
        variant=world.variant,
        rendering=config.world.rendering,
        length=length,
        packs=config.evaluation.packs,
        seeds=(derive_seed(config.seed, "evaluation") % 10**6,),
        arms=arms,
        temperature=config.sampling.temperature,
        solve_tokens=config.sampling.solve_tokens,
        update_tokens=config.sampling.update_tokens,
        suggested_tokens=config.sampling.suggested_tokens,
        answers=config.sampling.answers,
        update=config.context.update,
    )


def _settings(parts: tuple[EvalSpec, ...]) -> str:
    """Digest of what is measured."""
    editions = [edition_of(part) for part in parts]
    return text_digest(json.dumps([[part.identity() for part in parts], editions], sort_keys=True))


def _set_aside(run: RunDirectory, final: Path, found: Mapping[str, Any], progress: Progress) -> None:
    """Move a result of another model or of other settings out of the way."""
    place = run.path / _EARLIER / f"{final.name}-step-{found.get('step', 0):06d}-{found.get('evaluation', '')[:6]}"
    make_folder(place.parent)
    shutil.rmtree(place, ignore_errors=True)  # the same evaluation of the same model
    final.rename(place)
    progress.message(f"evaluation {final.name} has other settings or an earlier step: moved to {place}, repeated")


def _discard(folder: Path) -> None:
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder)


def _can_continue(folder: Path, digest: str) -> bool:
    """Whether the journal of an attempt that was interrupted is intact and of this evaluation."""
    try:
        with FileJournal(folder / JOURNAL, digest):
            return True
    except (RefusedError, StageError):
        return False


def _subject(run: RunDirectory, config: Config, folder: Path) -> PolicyUnderTest:
    """The model of a folder that the run has finished: the final one, or what CoD-Train starts from."""
    saved = [one for one in saved_models(run, config) if one.checkpoint is None and one.folder == folder]
    return PolicyUnderTest("run", run.title, folder, config, saved=saved[-1] if saved else None)
