"""Stage: evaluation of the warm-started and of the trained model on the worlds of their training."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.config.evalspec import EvalSpec
from codctl.config.schema import Config, WorldConfig
from codctl.errors import RefusedError, StageError
from codctl.evaluate.journal import FileJournal, Journal
from codctl.runs.atomic import make_folder, write_json, write_text
from codctl.runs.directory import RunDirectory
from codctl.runs.seal import is_whole, sealing
from codctl.seeds import derive_seed
from codctl.stages.progress import Progress
from codctl.stages.saved_models import saved_models
from codctl.stages.subject import Performer, Subject, open_subject

if TYPE_CHECKING:
    from codctl.evaluate.summary import Evaluation

_JOURNAL = ".journal.jsonl"


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
    run: RunDirectory, config: Config, folder: Path, name: str, length: int, arms: tuple[str, ...], progress: Progress
) -> dict[str, dict[str, Any]]:
    """Evaluate a model of the run on test packs of each family it was trained on.

    Seals each result under `stages/evaluation/<name>`, of a mixture under `<name>-<family>`; returned by this name.
    """
    world = config.world.model_dump(mode="json")
    results = {}
    for number, part in enumerate(config.world.parts):
        called = f"{name}-{part.family}" if config.world.mixture else name
        final = run.stage("evaluation") / called
        journal_path = final.with_name(f"{called}{_JOURNAL}")
        if not is_whole(final, progress.message):
            spec = EvalSpec(
                **{**trained_world(world, number), "length": length},
                packs=config.evaluation.packs,
                seeds=(derive_seed(config.seed, "evaluation") % 10**6,),
                arms=arms,
                temperature=config.sampling.temperature,
                solve_tokens=config.sampling.solve_tokens,
                update_tokens=config.sampling.update_tokens,
            )
            with _journal(journal_path, f"{run.manifest()['digest']} {called} {spec!r}") as journal:
                subject = _subject(run, config, folder)
                performer = open_subject(subject, run.path / "engine.log")
                found = _evaluate(performer, subject, spec, progress, journal)
            with sealing(final) as temp:
                write_evaluation(found, temp)
        journal_path.unlink(missing_ok=True)  # also that of an attempt that was killed right here
        results[called] = json.loads((final / "result.json").read_text())
    return results


def _journal(path: Path, about: str) -> FileJournal:
    """What a killed attempt has played of this evaluation, or a new journal when that is damaged or of another one."""
    digest = hashlib.sha256(about.encode()).hexdigest()[:16]
    make_folder(path.parent)
    try:
        return FileJournal(path, digest)
    except (RefusedError, StageError):
        path.unlink(missing_ok=True)
        return FileJournal(path, digest)


def _subject(run: RunDirectory, config: Config, folder: Path) -> Subject:
    """The model of a folder that the run has finished: the final one, or what CoD-Train starts from."""
    saved = [one for one in saved_models(run, config) if one.checkpoint is None and one.folder == folder]
    return Subject("run", run.title, folder, config, saved=saved[-1] if saved else None)


def _evaluate(
    performer: Performer, subject: Subject, spec: EvalSpec, progress: Progress, journal: Journal
) -> Evaluation:
    from codctl.evaluate.summary import summarise

    started_s = time.monotonic()
    asyncio.run(_play(performer, spec, progress, journal))
    found = summarise(spec, journal)
    about = {key: value for key, value in subject.describe().items() if key != "folder"}
    found.result.update({"seconds": round(time.monotonic() - started_s, 3), "run": subject.name, "subject": about})
    return found


async def _play(performer: Performer, spec: EvalSpec, progress: Progress, journal: Journal) -> None:
    from codctl.evaluate.runner import play

    def report(arm: str, done: int, total: int, means: dict[str, float]) -> None:
        progress.update(f"evaluation on {spec.family}, length {spec.length}: {arm}", done, total, means)

    try:
        if performer.check:
            await performer.check()
        await play(performer.player(spec), spec, journal, report, whole_legs=True)
    finally:
        if performer.close:
            await performer.close()


def write_evaluation(found: Evaluation, folder: Path) -> None:
    """Write summary, rows and walkthrough into a folder."""
    write_json(folder / "result.json", found.result)
    write_text(folder / "rows.jsonl", "".join(json.dumps(row) + "\n" for row in found.rows))
    write_json(folder / "walkthrough.json", found.walkthrough)
