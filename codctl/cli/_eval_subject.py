"""The options of codctl eval that say what is evaluated, and what could be when they say nothing."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from codctl.cli import _output
from codctl.cli._eval_agent import AskedAgent, with_agent
from codctl.errors import CodctlError, Problem, UsageError

if TYPE_CHECKING:
    from codctl.engines.openai.settings import EndpointSettings
    from codctl.evaluate.subject import PolicyUnderTest
    from codctl.runs.directory import RunDirectory

_CONCURRENCY = 8
_DEADLINE_S = 300.0
_LISTED = 10


@dataclass(frozen=True)
class Asked:
    """The options as typed."""

    run: str | None
    step: str | None
    model: Path | None
    policy: str | None
    endpoint: str | None
    model_name: str | None
    api_key_env: str | None
    concurrency: int | None
    price: str | None
    deadline: float | None = None
    agent: AskedAgent = field(default_factory=AskedAgent)

    def subject(self) -> list[str]:
        """The options that name a subject; there must be one."""
        given = {"--run": self.run, "--model": self.model, "--policy": self.policy, "--endpoint": self.endpoint}
        return [option for option, value in given.items() if value is not None]


def subject_of(asked: Asked, suite: str | None, runs_dir: Path, resources: Sequence[str] = ()) -> PolicyUnderTest:
    """What is evaluated.

    Without an option that names it, a suite is played by the only finished run.

    Args:
        asked: The options as typed.
        suite: The suite that was named.
        runs_dir: Where runs are kept.
        resources: Resource keys as typed, `key=value` each.

    Raises:
        UsageError: No subject or several, or an option that does not go with it.
        CodctlError: It cannot be used.
    """
    _refuse_unused(asked)
    found = _named(asked, suite, runs_dir)
    found = with_resources(found, resources) if resources else found
    return with_agent(found, asked.agent, asked.concurrency)


def with_resources(subject: PolicyUnderTest, typed: Sequence[str]) -> PolicyUnderTest:
    """The subject with resource keys of the command line.

    Raises:
        UsageError: A key that does not exist or means nothing to this subject.
    """
    from codctl.config import resources
    from codctl.config.schema import Config

    found = resources.with_resources(subject.config or Config(), typed)
    if subject.folder is None:
        _refuse_for_no_model(subject.kind, subject.name, typed)
    return replace(subject, resources=found)


def _refuse_for_no_model(kind: str, name: str, typed: Sequence[str]) -> None:
    """Only a model that this process loads has a type, a device or an engine; a job has a cluster in any case."""
    unused = [text.partition("=")[0] for text in typed if not text.startswith("cluster.")]
    if not unused:
        return
    reason = f"the scripted policy {name} has no model" if kind == "policy" else f"the server runs {name}"
    given = " and ".join(unused)
    hints = {"endpoint": "leave it out; --concurrency and --deadline set what codctl asks of the server"}
    raise UsageError(f"{given} would change nothing: {reason}", hint=hints.get(kind, "leave it out"))


def _named(asked: Asked, suite: str | None, runs_dir: Path) -> PolicyUnderTest:
    from codctl.evaluate.subject import PolicyUnderTest

    if asked.endpoint is not None:
        settings = _endpoint(asked, asked.endpoint)
        return PolicyUnderTest("endpoint", settings.model, endpoint=settings)
    if asked.policy is not None:
        return PolicyUnderTest("policy", asked.policy)
    if asked.model is not None:
        return _model(asked.model)
    return _run(run_of(asked.run, suite, runs_dir), asked.step)


def run_of(name: str | None, suite: str | None, runs_dir: Path) -> RunDirectory:
    """The run that is named, or the only finished one.

    Raises:
        UsageError: There is no such run, or none is named and it is not clear which.
    """
    from codctl.evaluate.suites.shipped import find_suite
    from codctl.runs.directory import find_run, list_runs

    if suite is not None:
        find_suite(suite)  # a name that is wrong is said first
    if name is not None:
        return find_run(runs_dir, name)
    runs = list_runs(runs_dir)
    finished = [run for run in runs if run.status() == "finished"]
    if suite is None or len(finished) != 1:
        raise _nothing_named(suite, runs, runs_dir)
    _output.talk(f"run {finished[0].title} is the only finished run in {runs_dir}: it is evaluated")
    return finished[0]


def _nothing_named(suite: str | None, runs: list[RunDirectory], runs_dir: Path) -> UsageError:
    """What could be played, each with the line to type."""
    words = ["codctl", "eval", "--suite", suite or "position-curve"]
    if runs_dir != Path("runs"):
        words += ["--runs-dir", str(runs_dir)]
    problems = []
    for run in runs:
        if known := _saved(run):
            line = shlex.join([*words, "--run", run.title])
            problems.append(Problem(f"run {run.title}, {run.status()}: {', '.join(known)}", hint=line))
    if more := len(problems) - _LISTED:
        problems = problems[:_LISTED] + ([Problem(f"and {more} more: codctl runs list")] if more > 0 else [])
    message = "say which model is evaluated: --run, --model, --policy or --endpoint"
    if not problems:
        hint = f"no run in {runs_dir} has saved a model: codctl train tiny, or {shlex.join([*words, '--policy bayes'])}"
        return UsageError(message, hint=hint.replace("'", ""))
    what = "these runs have models" if suite else "these runs have models, and `codctl eval --list` shows the suites"
    return UsageError(message, hint=what, problems=tuple(problems))


def _saved(run: RunDirectory) -> list[str]:
    """The models of a run, in words."""
    from codctl.runs.eval_result import FINAL
    from codctl.train.saved_models import saved_models

    try:
        models = saved_models(run, run.config())
    except CodctlError:
        return []
    steps = [str(model.step) for model in models if model.checkpoint]
    named = [f"final (step {model.step})" if model.label == FINAL else model.label for model in models]
    kept = [name for name in reversed(named) if name not in steps]
    return [*kept, *([f"steps {', '.join(steps)}"] if steps else [])]


def _run(run: RunDirectory, step: str | None) -> PolicyUnderTest:
    from codctl.evaluate.subject import subject_of_run
    from codctl.train.saved_models import NEWEST

    return subject_of_run(run, step or NEWEST)


def _model(path: Path) -> PolicyUnderTest:
    from codctl.evaluate.subject import subject_of_model
    from codctl.runs.directory import RunDirectory
    from codctl.train.saved_models import checkpoint_named

    found = checkpoint_named(path)
    return _run(RunDirectory(found[0]), found[1]) if found else subject_of_model(str(path))


def say_of_an_unknown_training(subject: PolicyUnderTest) -> None:
    """Say which world a model plays by default whose folder does not say what it was trained on."""
    from codctl.train.setup import SIDE_FILE, read_side_file

    if subject.kind == "model" and subject.folder and "world" not in read_side_file(subject.folder):
        _output.talk(
            f"{subject.name} has no {SIDE_FILE} that says what it was trained on: it plays frozen_lake easy with full "
            "texts unless family=, preset=, rendering= or the suite say otherwise"
        )


def _refuse_unused(asked: Asked) -> None:
    """An option that would be ignored is refused."""
    given = asked.subject()
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} name different models", hint="give one of them")
    asked.agent.refuse_unused()
    if asked.endpoint is None:
        for_endpoints = {
            "--model-name": asked.model_name,
            "--api-key-env": asked.api_key_env,
            "--concurrency": asked.concurrency if asked.agent.agent is None else None,
            "--price": asked.price,
            "--deadline": asked.deadline,
        }
        for option, value in for_endpoints.items():
            if value is not None:
                raise UsageError(f"{option} is for --endpoint", hint=f"--endpoint URL {option} …")
    if asked.step is not None and given not in ([], ["--run"]):
        raise UsageError("--step chooses a model of a run", hint=f"--run RUN --step {asked.step}")


def _endpoint(asked: Asked, url: str) -> EndpointSettings:
    from codctl.engines.openai.settings import EndpointSettings

    if not asked.model_name:
        raise UsageError("--endpoint needs --model-name", hint=f"--endpoint {url} --model-name NAME")
    prices = _prices(asked.price)
    return EndpointSettings(
        url,
        asked.model_name,
        asked.api_key_env,
        asked.concurrency or _CONCURRENCY,
        price_prompt=prices[0],
        price_completion=prices[1],
        deadline_s=_DEADLINE_S if asked.deadline is None else asked.deadline,
    )


def _prices(price: str | None) -> tuple[float | None, float | None]:
    if price is None:
        return None, None
    try:
        tokens_in, tokens_out = map(float, price.split(","))
        if not all(math.isfinite(value) and value >= 0 for value in (tokens_in, tokens_out)):
            raise ValueError
    except ValueError:
        raise UsageError(f'--price: expected two prices, got "{price}"', hint="--price 0.15,0.60") from None
    return tokens_in, tokens_out
