"""Stage: evaluation of the warm-started and of the trained model on the worlds of their training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.config.evalspec import EvalSpec
from codctl.config.schema import Config, WorldConfig
from codctl.runs.atomic import write_json, write_text
from codctl.runs.directory import RunDirectory
from codctl.runs.seal import is_sealed, sealing
from codctl.seeds import derive_seed
from codctl.stages.progress import Progress
from codctl.stages.subject import Subject, open_subject

if TYPE_CHECKING:
    from codctl.evaluate.summary import Evaluation


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
        if not is_sealed(final, verify=True):
            spec = EvalSpec(
                **{**trained_world(world, number), "length": length},
                packs=config.evaluation.packs,
                seeds=(derive_seed(config.seed, "evaluation") % 10**6,),
                arms=arms,
                temperature=config.sampling.temperature,
                solve_tokens=config.sampling.solve_tokens,
                update_tokens=config.sampling.update_tokens,
            )
            found = _evaluate(Subject("run", run.name, folder, config), spec, progress)
            with sealing(final) as temp:
                write_evaluation(found, temp)
        results[called] = json.loads((final / "result.json").read_text())
    return results


def _evaluate(subject: Subject, spec: EvalSpec, progress: Progress) -> Evaluation:
    import time

    from codctl.evaluate.runner import evaluate

    def report(arm: str, done: int, total: int, means: dict[str, float]) -> None:
        progress.update(f"evaluation on {spec.family}, length {spec.length}: {arm}", done, total, means)

    started_s = time.monotonic()
    found = evaluate(open_subject(subject).player(spec), spec, report)
    found.result.update({"seconds": round(time.monotonic() - started_s, 3), subject.kind: subject.name})
    return found


def write_evaluation(found: Evaluation, folder: Path) -> None:
    """Write summary, rows and walkthrough into a folder."""
    write_json(folder / "result.json", found.result)
    write_text(folder / "rows.jsonl", "".join(json.dumps(row) + "\n" for row in found.rows))
    write_json(folder / "walkthrough.json", found.walkthrough)
