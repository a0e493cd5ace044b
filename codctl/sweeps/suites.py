"""The suites of a sweep: checked before any training starts, and kept with it so that a later edit changes nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codctl.config.problems import usage_error
from codctl.config.suite_file import load_suite
from codctl.errors import Problem, UsageError
from codctl.files import atomic
from codctl.pipeline.trial import SWEEPS_FOLDER
from codctl.sweeps.plan import Plan, Suite, Trial

_FROM_A_TRIAL = "../../"  # <sweep>/trials/<trial>


def suite_of(name_or_path: str) -> Suite:
    """A suite of the command line.

    Raises:
        UsageError: There is none.
    """
    from codctl.evaluate.suites.shipped import find_suite

    file = find_suite(name_or_path)
    return Suite(load_suite(file.path, file.shown).name, name_or_path)


def check_suites(plan: Plan) -> None:
    """Work out every suite for every kind of trial, as its evaluation will.

    Raises:
        UsageError: All that is wrong, each with its place.
    """
    from codctl.envs.registry import families
    from codctl.evaluate.subject import PolicyUnderTest, training_defaults
    from codctl.evaluate.suites.expansion import expand
    from codctl.evaluate.suites.shipped import find_suite

    problems: dict[Problem, None] = {}
    homes = {_home_key(trial): trial for trial in plan.trials}
    for suite in plan.suites:
        try:
            file = find_suite(suite.suite)
            spec = load_suite(file.path, file.shown, suite.texts)
            for trial in homes.values():
                expand(spec, training_defaults(PolicyUnderTest("run", trial.name, config=trial.config)), families())
        except UsageError as error:
            own = error.problems or (Problem(f"suite {suite.name}: {error.message}", error.where, error.hint),)
            problems.update(dict.fromkeys(_placed(problem, suite) for problem in own))
    if problems:
        raise usage_error(plan.source, list(problems))


def calls_of(suites: Sequence[Suite]) -> list[dict[str, Any]]:
    """The suites as trial.json and sweep.json name them: a file by the copy that the sweep keeps."""
    return [{"name": suite.name, "suite": _kept(suite.suite), "overrides": suite.texts} for suite in suites]


def keep_suites(sweep: Path, suites: Sequence[Suite]) -> None:
    """Copy suite files into the sweep's folder."""
    for suite in suites:
        path = Path(suite.suite)
        if _is_file(suite.suite):
            target = sweep / SWEEPS_FOLDER / _kept_name(path)
            if not target.is_file():
                atomic.make_folder(target.parent)
                atomic.write_bytes(target, path.read_bytes())


def _kept(suite: str) -> str:
    return f"{_FROM_A_TRIAL}{SWEEPS_FOLDER}/{_kept_name(Path(suite))}" if _is_file(suite) else suite


def _kept_name(path: Path) -> str:
    return f"{path.stem}-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.yaml"


def _is_file(suite: str) -> bool:
    return suite.endswith((".yaml", ".yml"))


def _home_key(trial: Trial) -> str:
    config = trial.config
    return json.dumps([config.world.model_dump(mode="json"), config.sampling.model_dump(mode="json")])


def _placed(problem: Problem, suite: Suite) -> Problem:
    """Where an override of a suite was written, if that is the study file."""
    for override in suite.overrides:
        if override.place and problem.where == f"override {override.text}":
            return Problem(problem.message, override.place, problem.hint)
    return problem
