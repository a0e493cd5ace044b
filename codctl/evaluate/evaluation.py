"""Stage: evaluation of the warm-started and of the trained model on the worlds of their training."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.config.evalspec import EvalSpec
from codctl.config.freeze import training_digest
from codctl.config.schema import Config, WorldConfig
from codctl.engines.pulse import Pulse
from codctl.envs.registry import edition_of
from codctl.errors import RefusedError, StageError
from codctl.evaluate.subject import Performer, Subject, open_subject
from codctl.files.atomic import make_folder, write_json, write_text
from codctl.files.seal import is_whole, read_info, sealing
from codctl.results import trajectory_file
from codctl.results.journal import FileJournal, Journal
from codctl.runs import result_file
from codctl.runs.directory import RunDirectory
from codctl.runs.extension import final_step
from codctl.runs.progress import Progress, of_arm
from codctl.seeds import derive_seed
from codctl.train.saved_models import saved_models

if TYPE_CHECKING:
    from codctl.results.summary import Evaluation

_JOURNAL = ".journal.jsonl"
_EARLIER = Path("stages/earlier")


def trained_world(world: dict[str, Any], part: int = 0) -> dict[str, Any]:
    """The `part`-th family that a model was trained on, as the keys of an evaluation."""
    config = WorldConfig.model_validate(world)
    chosen = config.parts[part]
    return {
        "family": chosen.family,
        "preset": chosen.preset,
        "variant": chosen.variant,
        "rendering": config.rendering,
        "length": config.length,
    }


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
) -> dict[str, dict[str, Any]]:
    """Evaluate a model of the run on test packs of each family it was trained on.

    Seals each result under `stages/evaluation/<name>`, of a mixture under `<name>-<family>`; returned by this name. A
    result of another model or of other evaluation settings is moved to `stages/earlier`, and made anew.

    Args:
        run: The run.
        config: Its recipe.
        folder: Of the model.
        name: Of the evaluation.
        length: Tasks in a pack.
        arms: Control contexts.
        progress: Receives phases and messages.
        step: Rollout steps that the model has learned.
    """
    results = {}
    for number, part in enumerate(config.world.parts):
        called = f"{name}-{part.family}" if config.world.mixture else name
        final = run.stage("evaluation") / called
        journal_path = final.with_name(f"{called}{_JOURNAL}")
        spec = _spec(config, number, length, arms)
        edition = edition_of(spec.family, spec.preset, spec.variant)
        measured = repr(spec) + (f" edition {edition}" if edition > 1 else "")
        about = {"training": training_digest(config), "evaluation": _digest(measured), "step": step}
        if not is_whole(final, progress.message) or _set_aside(run, final, about, spec, progress):
            progress.update(f"evaluation {called}: loading the model", 0, 0, {})
            with _journal(journal_path, f"{about} {called}") as journal:
                subject = _subject(run, config, folder)
                performer = open_subject(subject, run.path / "engine.log")
                found = _evaluate(performer, subject, spec, progress, journal)
                with sealing(final, about) as temp:
                    write_evaluation(found, temp)
                    trajectory_file.write(temp / trajectory_file.NAME, trajectory_file.of_parts([spec], journal))
        journal_path.unlink(missing_ok=True)  # also that of an attempt that was killed right here
        results[called] = result_file.read(final / "result.json") or {}
    return results


def _spec(config: Config, part: int, length: int, arms: tuple[str, ...]) -> EvalSpec:
    return EvalSpec(
        **{**trained_world(config.world.model_dump(mode="json"), part), "length": length},
        packs=config.evaluation.packs,
        seeds=(derive_seed(config.seed, "evaluation") % 10**6,),
        arms=arms,
        temperature=config.sampling.temperature,
        solve_tokens=config.sampling.solve_tokens,
        update_tokens=config.sampling.update_tokens,
        suggested_tokens=config.sampling.suggested_tokens,
        answers=config.sampling.answers,
    )


def _set_aside(run: RunDirectory, final: Path, about: Mapping[str, Any], spec: EvalSpec, progress: Progress) -> bool:
    """Move a sealed result out of the way unless it is of this model and these settings."""
    found = read_info(final)
    if found == dict(about) or (not found and _is_of_before(run, final, spec)):
        return False
    place = run.path / _EARLIER / f"{final.name}-step-{found.get('step', 0):06d}-{found.get('evaluation', '')[:6]}"
    make_folder(place.parent)
    shutil.rmtree(place, ignore_errors=True)  # the same evaluation of the same model
    final.rename(place)
    progress.message(f"evaluation {final.name} has other settings or an earlier step: moved to {place}, repeated")
    return True


def _is_of_before(run: RunDirectory, final: Path, spec: EvalSpec) -> bool:
    """Whether a codctl that did not seal what a result is of has made it of this model, with these settings."""
    result = result_file.read(final / "result.json") or {}
    is_retrained = final.name.startswith("after") and final_step(run.stage("cod_train") / "final") is not None
    same = result.get("packs") == spec.packs and result.get("length") == spec.length
    return same and set(spec.arms) <= set(result.get("arms", {})) and not is_retrained


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _journal(path: Path, about: str) -> FileJournal:
    """What a killed attempt has played of this evaluation, or a new journal when that is damaged or of another one."""
    make_folder(path.parent)
    try:
        return FileJournal(path, _digest(about))
    except (RefusedError, StageError):
        path.unlink(missing_ok=True)
        return FileJournal(path, _digest(about))


def _subject(run: RunDirectory, config: Config, folder: Path) -> Subject:
    """The model of a folder that the run has finished: the final one, or what CoD-Train starts from."""
    saved = [one for one in saved_models(run, config) if one.checkpoint is None and one.folder == folder]
    return Subject("run", run.title, folder, config, saved=saved[-1] if saved else None)


def _evaluate(
    performer: Performer, subject: Subject, spec: EvalSpec, progress: Progress, journal: Journal
) -> Evaluation:
    from codctl.results.summary import summarise

    started_s = time.monotonic()
    asyncio.run(_play(performer, spec, progress, journal, subject.config or Config()))
    found = summarise(spec, journal)
    about = {key: value for key, value in subject.describe().items() if key != "folder"}
    found.result.update({"seconds": round(time.monotonic() - started_s, 3), "run": subject.name, "subject": about})
    return found


async def _play(performer: Performer, spec: EvalSpec, progress: Progress, journal: Journal, config: Config) -> None:
    from codctl.evaluate.runner import play

    phase = f"evaluation on {spec.family}, length {spec.length}"

    def report(arm: str, done: int, total: int, means: dict[str, float]) -> None:
        progress.update(phase, done, total, of_arm(arm, means))

    try:
        if performer.check:
            await performer.check()
        stored = config.tracking.trajectory_packs
        player = performer.player(spec)
        async with Pulse(progress, player) as pulse:
            await play(
                player,
                spec,
                journal,
                report,
                at_once=performer.at_once,
                whole_legs=True,
                stored_packs=stored,
                begin=lambda arms: pulse.begin(f"{phase}: {arms}"),
            )
    finally:
        if performer.close:
            await performer.close()


def write_evaluation(found: Evaluation, folder: Path) -> None:
    """Write summary, rows and walkthrough into a folder."""
    write_json(folder / "result.json", found.result)
    write_text(folder / "rows.jsonl", "".join(json.dumps(row) + "\n" for row in found.rows))
    write_json(folder / "walkthrough.json", found.walkthrough)
