"""Stage: evaluation of the warm-started and of the trained model; and `codctl eval` on any model or policy."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from codctl.cod.conversation import ByteChat
from codctl.cod.rollout import Player, RolloutSettings
from codctl.config.evalspec import EvalSpec
from codctl.config.schema import Config, WorldConfig
from codctl.engines.scripted import EachFamily, ScriptedEngine
from codctl.envs.registry import check_world, get_family
from codctl.errors import StageError
from codctl.evaluate.ceilings import UNBOUNDED
from codctl.evaluate.suites import check_arms, check_suite
from codctl.runs.atomic import write_json, write_text
from codctl.runs.directory import RunDirectory
from codctl.runs.seal import is_sealed, sealing
from codctl.seeds import derive_seed
from codctl.stages.progress import Progress
from codctl.stages.setup import Speaker, load_speaker, make_engine, read_side_file, rollout_settings

if TYPE_CHECKING:
    from codctl.evaluate.runner import Evaluation


@dataclass(frozen=True)
class Subject:
    """Who is evaluated.

    Attributes:
        kind: A trained run, a model folder, or a scripted policy.
        name: Run name, folder, or policy name.
        folder: Model folder; None for a policy.
        config: The run's recipe, when it is one.
    """

    kind: Literal["run", "model", "policy"]
    name: str
    folder: Path | None = None
    config: Config | None = None


def subject_of_run(run: RunDirectory) -> Subject:
    """The newest sealed model of a run.

    Raises:
        StageError: When there is none yet.
    """
    candidates = [run.stage("cod_train") / "final", run.stage("warm_start")]
    for folder in candidates:
        if is_sealed(folder):
            model = folder / "model" if (folder / "model").is_dir() else folder
            return Subject("run", run.name, model, run.config())
    raise StageError(f"run {run.name!r} has no finished model yet", where=str(run.path), hint="codctl train …")


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


def default_spec(subject: Subject, suite: str) -> dict[str, Any]:
    """What a suite plays with this subject when nothing is overridden: the worlds and budgets it was trained on."""
    check_suite(suite)
    if subject.kind == "policy":
        return {"suite": suite, "rendering": "compact", "arms": ["own"]}
    if subject.config:
        world, sampling = subject.config.world, subject.config.sampling
        return {
            "suite": suite,
            **trained_world(world.model_dump(mode="json")),
            "temperature": sampling.temperature,
            "solve_tokens": sampling.solve_tokens,
            "update_tokens": sampling.update_tokens,
        }
    assert subject.folder is not None
    side = read_side_file(subject.folder)
    sampling_keys = {"temperature", "solve_tokens", "update_tokens"}
    return {
        "suite": suite,
        **(trained_world(side["world"]) if "world" in side else {}),
        **{key: value for key, value in side.get("sampling", {}).items() if key in sampling_keys},
    }


def check_spec(spec: EvalSpec) -> None:
    """Raise UsageError unless family, preset, suite and arms exist."""
    check_suite(spec.suite)
    check_arms(spec.arms)
    check_world(spec.family, spec.preset, spec.variant)
    if spec.foreign_family:
        family = get_family(spec.foreign_family)
        check_world(family.name, spec.foreign_preset or family.presets[0])


def evaluate_subject(subject: Subject, spec: EvalSpec, progress: Progress) -> Evaluation:
    """Evaluate any subject and return summary, rows and walkthrough.

    Args:
        subject: Who.
        spec: On what.
        progress: For whoever watches.
    """
    from codctl.evaluate.runner import evaluate

    check_spec(spec)
    if subject.kind == "policy":
        player = _policy_player(subject.name, spec)
    else:
        assert subject.folder is not None
        config = subject.config or Config()
        speaker = load_speaker(subject.folder, config.model.dtype, config.model.device)
        player = _model_player(speaker, config, spec)
    report = _reporter(progress, f"evaluation, length {spec.length}")
    found = evaluate(player, spec, report)
    found.result.update({"run": None, subject.kind: subject.name})
    return found


def _policy_player(name: str, spec: EvalSpec) -> Player:
    chat = ByteChat()
    settings = RolloutSettings(spec.rendering, solve_tokens=UNBOUNDED, update_tokens=UNBOUNDED, max_chars=UNBOUNDED)
    return Player(ScriptedEngine(EachFamily(name), chat), chat, settings, spec.seeds[0])


def _model_player(speaker: Speaker, config: Config, spec: EvalSpec) -> Player:
    settings = replace(
        rollout_settings(config),
        rendering=spec.rendering,
        temperature=spec.temperature,
        solve_tokens=spec.solve_tokens,
        update_tokens=spec.update_tokens,
        on_parse_failure="keep",  # deployment never wipes
    )
    engine = make_engine(speaker, config.runtime.max_batch)
    return Player(engine, speaker.chat, settings, spec.seeds[0])


def _reporter(progress: Progress, phase: str) -> Any:
    def report(arm: str, done: int, total: int, means: dict[str, float]) -> None:
        progress.update(f"{phase}: {arm}", done, total, means)

    return report


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
            found = evaluate_subject(Subject("run", run.name, folder, config), spec, progress)
            with sealing(final) as temp:
                write_evaluation(found, temp)
        results[called] = json.loads((final / "result.json").read_text())
    return results


def write_evaluation(found: Evaluation, folder: Path) -> None:
    """Write summary, rows and walkthrough into a folder."""
    write_json(folder / "result.json", found.result)
    write_text(folder / "rows.jsonl", "".join(json.dumps(row) + "\n" for row in found.rows))
    write_json(folder / "walkthrough.json", found.walkthrough)
