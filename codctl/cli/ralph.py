"""codctl ralph: an agent program works at one prompt until a command says that the work is done."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from codctl.cli import _output
from codctl.cli._at_work import (
    AgentProgramName,
    HowItRuns,
    MaxTokens,
    ModelNamed,
    StepOfRun,
    Temperature,
    check_folder,
    check_named,
    named_subject,
    prepare_and_say,
)
from codctl.cli._options import RUNS_DIR, ApiKeyEnv, Endpoint, Json, ModelName, RunsDir
from codctl.errors import UsageError

if TYPE_CHECKING:
    from codctl.contexts.store import Stored
    from codctl.deploy.model import Sampled
    from codctl.deploy.ralph import Iteration, Ralph, Wanted
    from codctl.evaluate.subject import PolicyUnderTest

_NOT_DONE = 4
_LONGEST_PROMPT = 1 << 20  # bytes


def ralph(
    name: ModelNamed = None,
    overrides: HowItRuns = None,
    agent: AgentProgramName = "",
    prompt: Annotated[
        Path | None, typer.Option("--prompt", metavar="FILE", help="What the agent is told, in every iteration.")
    ] = None,
    verify: Annotated[
        str,
        typer.Option(
            "--verify",
            metavar="COMMAND",
            help="Ends the loop when its exit status is 0. Run in the workspace after each session, without a shell.",
        ),
    ] = "",
    most: Annotated[int, typer.Option("--max-iterations", metavar="N", min=1, max=9999, help="Sessions at most.")] = 10,
    work: Annotated[Path, typer.Option("--dir", metavar="DIR", help="The workspace, which stays.")] = Path(),
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="Where the loop is recorded; ralph/PROMPT when left out."),
    ] = None,
    step: StepOfRun = None,
    endpoint: Endpoint = None,
    model_name: ModelName = None,
    api_key_env: ApiKeyEnv = None,
    max_turns: Annotated[
        int, typer.Option("--max-turns", metavar="N", min=1, help="Replies of the model in one session.")
    ] = 50,
    deadline_s: Annotated[
        float, typer.Option("--agent-deadline", metavar="SECONDS", min=1, help="Most time for one session.")
    ] = 3_600.0,
    verify_deadline_s: Annotated[
        float, typer.Option("--verify-deadline", metavar="SECONDS", min=1, help="Most time for COMMAND.")
    ] = 600.0,
    sandbox: Annotated[
        Literal["none", "unshare"],
        typer.Option(
            "--agent-sandbox",
            help="unshare: no network but the model's, no processes and few files of others; it writes in the "
            "workspace alone.",
        ),
    ] = "none",
    max_tokens: MaxTokens = None,
    temperature: Temperature = None,
    runs_dir: RunsDir = RUNS_DIR,
    as_json: Json = False,
) -> None:
    """Let an agent work at one prompt in fresh sessions until a command succeeds.

    The workspace stays as each session leaves it. After a session that did not succeed, the model rewrites the hints,
    which the next one reads. The same command continues a loop that was ended. Exit code 4: the iterations are
    used up.
    """
    import asyncio

    from codctl import trust
    from codctl.agents.program import PROGRAMS
    from codctl.agents.sandbox import check_sandbox
    from codctl.config.names import plain
    from codctl.deploy.model import Sampled
    from codctl.deploy.ralph import Ralph, Wanted

    check_named(agent)
    if prompt is None:
        raise UsageError("say what the agent is told", hint="--prompt FILE")
    text, command = _prompt(prompt), _command(verify, work)
    subject = named_subject(name, overrides or [], step, endpoint, model_name, api_key_env, runs_dir)
    if sandbox == "unshare":
        check_sandbox()
    trust.remember_imports(agent)
    program = PROGRAMS.get(agent)
    title = subject.describe().title
    wanted = Wanted(
        program,
        program.version(),
        title,
        text,
        command,
        work.resolve(),
        most,
        max_turns,
        deadline_s,
        verify_deadline_s,
        sandbox,
    )
    default = Path("ralph") / (plain(prompt.stem) or "loop")
    loop = Ralph((out or default).resolve())
    prepare_and_say(subject)
    with loop.held(wanted):
        done = asyncio.run(_looped(loop, wanted, subject, Sampled(max_tokens, temperature)))
        _tell(loop, wanted, done=done, as_json=as_json)
    if not done:
        raise typer.Exit(_NOT_DONE)


async def _looped(ralph: Ralph, wanted: Wanted, subject: PolicyUnderTest, sampled: Sampled) -> bool:
    from codctl.deploy.model import deployed
    from codctl.deploy.ralph import loop

    async with deployed(subject, ralph.folder / "engine.log", sampled) as model:
        return await loop(ralph, wanted, model, _say)


def _prompt(path: Path) -> str:
    from codctl.files import reader

    try:
        text = reader.read_bytes(path, most_bytes=_LONGEST_PROMPT).decode().strip()
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the prompt: {error}", where=str(path)) from error
    if not text:
        raise UsageError("the prompt is empty", where=str(path))
    return text


def _command(verify: str, work: Path) -> tuple[str, ...]:
    from codctl.deploy.ralph import words_of

    check_folder("--dir", work)
    try:
        words = words_of(verify)
    except ValueError as error:
        raise UsageError(
            f"--verify is no command: {str(error).lower()}", hint="--verify 'pytest -q tests/test_it.py'"
        ) from error
    if shutil.which(words[0]) is None and not (work / words[0]).is_file():
        raise UsageError(
            f"there is no program {words[0]!r}", where="--verify", hint="no shell reads it: for one, sh -c '…'"
        )
    return words


def _say(iteration: Iteration, stored: Stored) -> None:
    from codctl.deploy.ralph import in_words

    hints = "" if iteration.is_verified else f"; hints: revision {stored.number}, {len(stored.text):,} characters"
    _output.talk(f"iteration {iteration.number}: {in_words(iteration)}{hints}")


def _tell(ralph: Ralph, wanted: Wanted, *, done: bool, as_json: bool) -> None:
    from codctl.deploy.ralph import curve, in_words
    from codctl.deploy.ralph_page import write_page

    iterations, head = ralph.iterations(), ralph.context.head()
    page = write_page(ralph, wanted, iterations)
    value = {
        "done": done,
        "folder": str(ralph.folder),
        "agent": wanted.program.name,
        "version": wanted.version,
        "model": wanted.model,
        "iterations": curve(iterations),
        "hints": head.text,
        "page": str(page),
    }
    rows = [(f"iteration {one.number}", in_words(one)) for one in iterations]
    count = f"{len(iterations)} iteration{'s' * (len(iterations) != 1)}"
    rows.append(
        ("result", f"done after {count}" if done else f"not done after {count}; --max-iterations N allows more")
    )
    rows += [("hints", f"revision {head.number}, in {ralph.context.folder}"), ("report", str(page))]
    _output.result("ralph", value, _output.facts(rows), as_json=as_json)
