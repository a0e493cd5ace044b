"""What the commands share that put a model to work in an agent program."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codctl.cli import _complete as complete
from codctl.cli import _output
from codctl.errors import UsageError

if TYPE_CHECKING:
    from codctl.evaluate.subject import PolicyUnderTest

ModelNamed = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN", autocompletion=complete.runs, help="A run, a Hugging Face folder, or a cached model's id."
    ),
]
HowItRuns = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="How the model runs: engine.kind, model.device, … as in a recipe."),
]
AgentProgramName = Annotated[
    str,
    typer.Option(
        "--agent",
        metavar="NAME",
        autocompletion=complete.agents,
        help="The agent program: claude-code, hermes, openclaw or qwenpaw.",
    ),
]
StepOfRun = Annotated[
    str | None,
    typer.Option("--step", metavar="N", autocompletion=complete.steps, help="Of a run: N, final or newest."),
]
MaxTokens = Annotated[
    int | None,
    typer.Option("--max-tokens", metavar="N", min=1, help="Of one reply; a quarter of what the model reads."),
]
Temperature = Annotated[
    float | None,
    typer.Option("--temperature", metavar="T", min=0.01, max=5, help="By default that of the training."),
]


def check_named(agent: str) -> None:
    """Refuse a command line that names no agent program."""
    if not agent:
        from codctl.agents.program import PROGRAMS

        raise UsageError("say in which agent program", hint=f"--agent {' or '.join(PROGRAMS.names())}")


def check_folder(option: str, folder: Path | None) -> None:
    """Refuse an option that names a folder which is not there."""
    if folder is not None and not folder.is_dir():
        raise UsageError("there is no such folder", where=str(folder), hint=f"{option} DIR names one that exists")


def prepare(subject: PolicyUnderTest) -> None:
    """Prepare this process for a model that it will load; a server's needs nothing."""
    if subject.folder:
        from codctl.train.setup import prepare_process

        prepare_process(subject.settings.runtime.threads)


def prepare_and_say(subject: PolicyUnderTest) -> None:
    """The same, and say that the model is loaded."""
    prepare(subject)
    if subject.folder:
        _output.talk(f"loading {subject.describe().title}")


def named_subject(
    name: str | None,
    overrides: list[str],
    step: str | None,
    endpoint: str | None,
    model_name: str | None,
    api_key_env: str | None,
    runs_dir: Path,
) -> PolicyUnderTest:
    """The model of a command that puts one to work, as it was named."""
    from codctl.cli._eval_subject import Asked, subject_of
    from codctl.errors import CodctlError
    from codctl.runs.directory import find_run

    if name and "=" in name:
        overrides, name = [name, *overrides], None
    if (name is None) == (endpoint is None):
        raise UsageError(
            "say which model: a run, a folder, or --endpoint", hint="RUN --agent hermes, or --endpoint URL"
        )
    run, model = name, None
    if name is not None:
        try:
            find_run(runs_dir, name)
        except CodctlError:
            if step is not None or not ("/" in name or Path(name).is_dir()):
                raise
            run, model = None, Path(name)
    asked = Asked(run, step, model, None, endpoint, model_name, api_key_env, None, None)
    return subject_of(asked, None, runs_dir, overrides)
