"""`codctl train`: every stage that the recipe names, each skipped when its sealed result is there."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.config.schema import Config
from codctl.errors import CodctlError
from codctl.runs.directory import RunDirectory
from codctl.runs.progress import Beating, Logged, Progress, Stoppable
from codctl.runs.signals import Terminated
from codctl.runs.stop import Stopped

if TYPE_CHECKING:
    from codctl.engines.nodes.client import Address
    from codctl.learner.rendezvous import Starter
    from codctl.runs.eval_result import EvalResult
    from codctl.train.teachers import Teacher


def run_training(
    config: Config,
    run: RunDirectory,
    progress: Progress | None,
    starter: Starter | None = None,
    engines: Callable[[], Sequence[Address]] = tuple,
) -> dict[str, Any]:
    """Train and evaluate; the same call again continues or does nothing.

    The caller holds the run's lock (`run.start_attempt`).

    Args:
        config: Recipe.
        run: Where everything is written.
        progress: Shows how far it is; the run's log has it anyway.
        starter: Starts the learner's further processes (see `codctl.jobs`); None where it is one.
        engines: Finds the engines of other nodes, of which there may be none.

    Raises:
        Stopped: It was asked for; all that was sealed is kept.

    Returns:
        See `results.result_of`, and `seconds`.
    """
    from codctl.tracking.tracker import Tracker

    tracker = Tracker(run, config)
    seen = Logged(progress, config.runtime.progress_s)
    shown: Progress = Beating(seen, run.beat) if run.beat else seen
    outcome = "failed"
    try:
        result = _stages(config, run, tracker, shown, starter, engines)
        outcome = "finished"
        return result
    except Stopped as request:
        outcome = request.outcome
        raise
    except (KeyboardInterrupt, Terminated):
        outcome = "interrupted"
        raise
    finally:
        seen.close()
        tracker.finish(outcome)


def _stages(
    config: Config,
    run: RunDirectory,
    tracker: Any,
    progress: Progress,
    starter: Starter | None,
    engines: Callable[[], Sequence[Address]],
) -> dict[str, Any]:
    from codctl.models.start import build_model
    from codctl.pipeline.results import result_of
    from codctl.pipeline.trial import play_suites
    from codctl.train.cod_train import cod_train
    from codctl.train.setup import prepare_process
    from codctl.train.teachers import find_teachers
    from codctl.train.warm_start import warm_start

    prepare_process(config.runtime.threads)
    started = time.monotonic()
    seen = progress
    progress = Stoppable(seen, run.check_stop)
    start = build_model(run, config, progress)
    # What is wrong with teachers is better known before the warm start.
    teachers = find_teachers(run, config, start, progress) if config.distill.teachers else ()
    warm = warm_start(run, config, start, tracker, progress)
    final = cod_train(run, config, warm, tracker, seen, starter, engines, teachers)  # it saves before it stops
    results = _evaluations(config, run, warm, final, teachers, progress, engines) if config.evaluation.enabled else {}
    play_suites(run, config, progress, engines)
    _report(run, progress)
    return {**result_of(run, config, results), "seconds": round(time.monotonic() - started, 1)}


def _evaluations(
    config: Config,
    run: RunDirectory,
    warm: Path,
    final: Path,
    teachers: Sequence[Teacher],
    progress: Progress,
    engines: Callable[[], Sequence[Address]],
) -> dict[str, EvalResult]:
    """Those that the recipe asks for, of the model before and after CoD-Train, and of teachers."""
    from codctl.evaluate.evaluation import evaluate_in_run
    from codctl.results.kept import evaluation_of_teacher

    evaluation, length = config.evaluation, config.world.length
    steps = config.train.steps if config.train.enabled else 0
    results: dict[str, EvalResult] = {}
    evaluate = partial(evaluate_in_run, run, config, progress=progress, engines=engines)
    if config.train.enabled:
        results["before"] = evaluate(warm, "before", length, ("own", "none"), step=0)
    results["after"] = evaluate(final, "after", length, evaluation.arms, step=steps)
    for number, teacher in enumerate(teachers, start=1):
        name = evaluation_of_teacher(number)
        results[name] = evaluate(teacher.folder, name, length, ("own",), step=0, teacher=teacher)
    if long := evaluation.long_length:
        results["after-long"] = evaluate(final, "after-long", long, ("own", "none"), step=steps)
    return results


def _report(run: RunDirectory, progress: Progress) -> None:
    """Write the page; a page that fails must not turn a finished training into a failed one."""
    from codctl.report import write_report

    progress.update("writing the report", 0, 0, {})
    try:
        write_report(run)
    except Exception as error:  # noqa: BLE001  whatever it is, the training is finished
        why = (
            f"{error.message} ({error.where})" if isinstance(error, CodctlError) else f"{type(error).__name__}: {error}"
        )
        progress.message(f"no report: {why}; codctl report {run.title} tries again")
