"""codctl eval: a suite on a run, a model folder, a scripted policy or a served model."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codctl.cli import _complete as complete
from codctl.cli import _output
from codctl.cli._browser import open_page
from codctl.cli._eval_agent import (
    Agent,
    AskedAgent,
    DeadlineOption,
    KeepHomes,
    ProtocolOption,
    SandboxOption,
    ToolsOption,
    UpdateOption,
)
from codctl.cli._eval_subject import Asked, run_of, say_of_an_unknown_training, subject_of
from codctl.cli._options import (
    RUNS_DIR,
    ApiKeyEnv,
    Concurrency,
    Deadline,
    Endpoint,
    Json,
    ModelFolder,
    ModelName,
    On,
    OpenPage,
    RunsDir,
    Slurm,
    launcher_of,
)
from codctl.errors import UsageError

if TYPE_CHECKING:
    from codctl.config.schema import Config
    from codctl.evaluate.subject import PolicyUnderTest
    from codctl.evaluate.suite import EvalPlan

_USUAL = "position-curve"
EvalOverrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        autocompletion=complete.eval_overrides,
        help="What to play: family, preset, variant, rendering, length, packs, seeds, arms, split, temperature, "
        "strategy, drift_at, poison, … (`codctl recipe explain eval`), and how the model runs: model.dtype, "
        "model.device, runtime.max_batch, runtime.threads, engine.kind, … as in a recipe.",
    ),
]


def evaluate(
    overrides: EvalOverrides = None,
    suite: Annotated[
        str | None,
        typer.Option(
            "--suite",
            metavar="NAME",
            autocompletion=complete.suites,
            help="A shipped suite (--list), or a YAML file of your own; position-curve when left out.",
        ),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            "--run", metavar="RUN", autocompletion=complete.runs, help="A run: its newest saved model, or see --step."
        ),
    ] = None,
    step: Annotated[
        str | None,
        typer.Option(
            "--step", metavar="N", autocompletion=complete.steps, help="With --run: N, final, warm-start or newest."
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--every-checkpoint", help="With --run: all saved models, as one curve over the steps.")
    ] = False,
    model: ModelFolder = None,
    policy: Annotated[
        str | None,
        typer.Option(
            "--policy",
            metavar="NAME",
            autocompletion=complete.policies,
            help="A scripted policy: bayes, informed, random.",
        ),
    ] = None,
    endpoint: Endpoint = None,
    model_name: ModelName = None,
    api_key_env: ApiKeyEnv = None,
    concurrency: Concurrency = None,
    deadline: Deadline = None,
    price: Annotated[
        str | None, typer.Option("--price", metavar="IN,OUT", help="Per million tokens read and written, for the cost.")
    ] = None,
    agent: Agent = None,
    protocol: ProtocolOption = None,
    update: UpdateOption = None,
    agent_tools: ToolsOption = None,
    agent_deadline: DeadlineOption = None,
    agent_sandbox: SandboxOption = None,
    keep_homes: KeepHomes = False,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="Play N packs.")] = None,
    show: Annotated[bool, typer.Option("--show", help="Print the first pack of each arm while it is played.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Play anew; earlier results are moved aside.")] = False,
    slurm: Slurm = False,
    on: On = None,
    list_suites: Annotated[bool, typer.Option("--list", help="Show the shipped suites.")] = False,
    opens: OpenPage = False,
    runs_dir: RunsDir = RUNS_DIR,
    as_json: Json = False,
) -> None:
    """Evaluate a run, a model, a scripted policy or a served model.

    Plays a suite and prints its table. The same command again continues, or shows the result.
    """
    if list_suites:
        _list(as_json)
        return
    inside = AskedAgent(agent, protocol, update, agent_tools, agent_deadline, agent_sandbox, keep_homes)
    asked = Asked(run, step, model, policy, endpoint, model_name, api_key_env, concurrency, price, deadline, inside)
    values = _limited(overrides or [], limit)
    where = launcher_of(on, slurm=slurm)
    if where and opens:
        raise UsageError("--open has nothing to open with --slurm", hint="leave one of them out")
    if show and (where or every):
        raise UsageError(
            "--show prints packs of one model that is played here", hint="leave out --slurm and --every-checkpoint"
        )
    if every and agent:
        raise UsageError("--every-checkpoint plays in codctl's own loop", hint=f"--run RUN --step N --agent {agent}")
    if every:
        inside.refuse_unused()
        _every(asked, suite, values, runs_dir, fresh=fresh, where=where, opens=opens, as_json=as_json)
        return
    from codctl.config.resources import split
    from codctl.evaluate.suite import plan

    command = ["codctl", *sys.argv[1:]]
    values, resources = split(values)
    subject = subject_of(asked, suite, runs_dir, resources)
    if show and subject.agent and subject.agent.protocol == "tools":
        raise UsageError("--show prints the form that a model was trained on", hint="codctl view --sessions afterwards")
    say_of_an_unknown_training(subject)
    planned = plan(subject, suite or _USUAL, values, runs_dir, command)
    if where:
        _submit(planned, runs_dir, where, fresh=fresh, as_json=as_json)
        return
    _play(planned, runs_dir, fresh=fresh, opens=opens, shows=show, as_json=as_json)


def _play(planned: EvalPlan, runs_dir: Path, *, fresh: bool, opens: bool, shows: bool, as_json: bool) -> None:
    from codctl.cli._evaluation_text import suite_text
    from codctl.cli._progress import open_display
    from codctl.cli._trajectory_text import Shown
    from codctl.evaluate.suite import refuse_unplayed, run_suite
    from codctl.evaluate.suite_result import finished
    from codctl.evaluate.watched import Watch
    from codctl.runs import code
    from codctl.runs.eval_result import to_json

    if any(part.packs == 1 for part in planned.parts):
        _output.talk("one pack: the intervals show how little it says, and the arm shuffled needs a second one")
    if planned.subject.folder:
        _prepare(planned.subject.settings)
    if fresh or finished(planned.folder, planned.digest) is None:
        code.fix(runs_dir)
    with open_display(10.0) as display:
        watch = Watch(Shown(), _output.talk) if shows else None
        found = run_suite(planned, display, fresh=fresh, watch=watch)
        _track(planned)
    if watch and not watch.seen:
        _output.talk(f"it was played before: codctl view {planned.digest[:8]} --pack 0 shows it")
    if not as_json:
        _output.result("eval", {}, suite_text(found), as_json=False)
    if opens:
        open_page(planned.folder / "report.html")
    refuse_unplayed(found)
    if as_json:
        _output.result("eval", to_json(found), "", as_json=True)


def _track(planned: EvalPlan) -> None:
    """Let the trackers of a run show its evaluation."""
    from codctl.runs.directory import RunDirectory
    from codctl.tracking.sync import evaluated

    folder = planned.subject.folder
    if planned.subject.kind == "run" and folder:
        for parent in folder.parents:
            if (parent / "manifest.json").is_file():
                evaluated(RunDirectory(parent))


def _every(
    asked: Asked,
    suite: str | None,
    overrides: Sequence[str],
    runs_dir: Path,
    *,
    fresh: bool,
    where: str | None,
    opens: bool,
    as_json: bool,
) -> None:
    """All saved models of a run, one after the other."""
    from codctl.cli._evaluation_text import steps_text
    from codctl.cli._progress import open_display
    from codctl.config.resources import split
    from codctl.evaluate.over_steps import plan_every, run_every
    from codctl.runs import code
    from codctl.runs.eval_result import to_json

    if asked.subject() not in ([], ["--run"]) or asked.step is not None:
        raise UsageError("--every-checkpoint evaluates all saved models of a run", hint="--run RUN --every-checkpoint")
    run = run_of(asked.run, suite, runs_dir)
    overrides, resources = split(overrides)
    command = ["codctl", *sys.argv[1:]]
    planned = plan_every(run, suite or _USUAL, overrides, runs_dir, command, resources)
    settings = planned.plans[0].subject.settings
    if where:
        _send([], ["--run", run.title], planned.plans[0].subject, planned.folder, runs_dir, where, as_json=as_json)
        return
    _prepare(settings)
    code.fix(runs_dir)
    with open_display(10.0) as display:
        found = run_every(planned, display, fresh=fresh)
        _track(planned.plans[0])
    _output.result("eval", to_json(found), steps_text(found), as_json=as_json)
    if opens:
        open_page(planned.folder / "report.html")


def _prepare(config: Config) -> None:
    from codctl.train.setup import prepare_process

    prepare_process(config.runtime.threads)


def _limited(overrides: Sequence[str], limit: int | None) -> list[str]:
    """The overrides with `--limit` among them."""
    if limit is None:
        return list(overrides)
    for text in overrides:
        if text.partition("=")[0].strip() == "packs":
            raise UsageError(f"--limit {limit} and {text} both set the number of packs", hint="give one of them")
    return [*overrides, f"packs={limit}"]


def _submit(planned: EvalPlan, runs_dir: Path, where: str, *, fresh: bool, as_json: bool) -> None:
    """Let a job type the same command, with the cluster of the run; a finished suite is not played again."""
    from codctl.evaluate.suite_result import finished
    from codctl.runs.directory import move_aside

    if fresh:
        move_aside(planned.folder)
    if finished(planned.folder, planned.digest) is not None:
        text = f"{planned.folder} is finished: the same command without --slurm shows it"
        _output.result("eval", {"folder": str(planned.folder), "jobs": []}, text, as_json=as_json)
        return
    subject = planned.subject
    # Until the job begins, the run may have saved a newer model: it plays the one that was found now.
    chosen = ["--run", subject.name, "--step", subject.saved.label] if subject.saved else []
    _send([subject.describe().title], chosen, subject, planned.folder, runs_dir, where, as_json=as_json)


def _send(
    head: Sequence[str],
    chosen: Sequence[str],
    subject: PolicyUnderTest,
    folder: Path,
    runs_dir: Path,
    where: str,
    *,
    as_json: bool,
) -> None:
    """Submit this very command, with the options that name what was chosen."""
    from codctl.jobs.launch import send_command
    from codctl.train import foreign

    cluster = subject.settings.cluster
    foreign.refuse_job(subject.withheld, subject.settings, subject.name)
    argv = [*_without_launcher(sys.argv[1:]), *chosen]
    sent = send_command(argv, cluster, folder=folder, name=folder.name, runs_dir=runs_dir, where=where)
    who = f"process {sent['pid']}" if where == "local" else f"job {sent['jobs'][0]}"
    option = "--slurm" if "--slurm" in sys.argv else "--on"
    lines = [*head, f"results  {sent['folder']}", f"started  {who}", f"result   the same command without {option}"]
    _output.result("eval", sent, "\n".join(lines), as_json=as_json)


def _without_launcher(argv: Sequence[str]) -> list[str]:
    """A command line without what sends it away; `--fresh` was done already."""
    found, words = [], iter(argv)
    for word in words:
        if word == "--on":
            next(words, None)
        elif word not in ("--slurm", "--fresh") and not word.startswith("--on="):
            found.append(word)
    return found


def _list(as_json: bool) -> None:
    from codctl.evaluate.suites.shipped import descriptions

    found = descriptions()
    _output.result("eval", {"suites": found}, _output.table(["suite", "asks"], list(found.items())), as_json=as_json)
