"""codctl deploy: a trained model inside an agent program, with the hints that it has learned."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codctl.cli import _complete as complete
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
from codctl.cli._foreground import CTRL_C
from codctl.cli._options import (
    CONTEXTS_DIR,
    RUNS_DIR,
    ApiKeyEnv,
    ContextsDir,
    Endpoint,
    Json,
    ModelName,
    RunsDir,
)

if TYPE_CHECKING:
    from codctl.deploy.deployment import Configured, Deployment
    from codctl.deploy.serving import Ready
    from codctl.evaluate.subject import PolicyUnderTest

_SMALL_WINDOW = 32_768


def deploy(
    name: ModelNamed = None,
    overrides: HowItRuns = None,
    agent: AgentProgramName = "",
    context: Annotated[
        str | None,
        typer.Option(
            "--context",
            metavar="NAME",
            autocompletion=complete.contexts,
            help="Whose hints the agent reads; begun where it is not there. By default it is called as the model.",
        ),
    ] = None,
    step: StepOfRun = None,
    endpoint: Endpoint = None,
    model_name: ModelName = None,
    api_key_env: ApiKeyEnv = None,
    port: Annotated[int, typer.Option("--port", metavar="P", min=0, max=65535, help="Of the proxy; any free one.")] = 0,
    work: Annotated[
        Path | None, typer.Option("--dir", metavar="DIR", help="Where the agent works; by default a folder of its own.")
    ] = None,
    home: Annotated[
        Path | None,
        typer.Option("--home", metavar="DIR", help="A home of yours for the agent, in place of one of its own."),
    ] = None,
    write: Annotated[
        bool,
        typer.Option("--write", help="Write the hints into the agent's memory in your home, or in that of --home."),
    ] = False,
    max_tokens: MaxTokens = None,
    temperature: Temperature = None,
    prints: Annotated[bool, typer.Option("--print", help="Print what would be set up, and start nothing.")] = False,
    contexts_dir: ContextsDir = CONTEXTS_DIR,
    runs_dir: RunsDir = RUNS_DIR,
    as_json: Json = False,
) -> None:
    """Let an agent program work with your model and its hints.

    Serves the model, records what the agent asks, puts the hints where the agent reads them, and says how to start it.
    Ctrl-C ends it. Your own home is not written to unless you say so.
    """
    from codctl.agents.program import PROGRAMS
    from codctl.config.names import plain
    from codctl.contexts.store import Context
    from codctl.deploy.deployment import Deployment
    from codctl.deploy.model import Sampled
    from codctl.deploy.serving import Wanted, serve

    check_named(agent)
    PROGRAMS.check(agent)
    check_folder("--dir", work)
    subject = named_subject(name, overrides or [], step, endpoint, model_name, api_key_env, runs_dir)
    title = context or plain(Path(subject.name).name)
    home = home or (Path.home() if write else None)
    deployment = Deployment(PROGRAMS.get(agent), Context(contexts_dir / title), home, work)
    if prints:
        _print(deployment, subject, port, as_json=as_json)
        return
    deployment.context.create()
    prepare_and_say(subject)
    wanted = Wanted(port, Sampled(max_tokens, temperature), write)
    asked = serve(deployment, subject, wanted, lambda ready: _tell(ready, as_json=as_json), _output.talk)
    if asked is None:
        raise typer.Exit(CTRL_C)
    _output.talk(_farewell(deployment, asked))


def _print(deployment: Deployment, subject: PolicyUnderTest, port: int, *, as_json: bool) -> None:
    from codctl.agents.program import KEY, MODEL, WINDOW, ModelAccess
    from codctl.deploy.model import usual_tokens, window_of
    from codctl.deploy.serving import preview, temporary

    url = f"http://127.0.0.1:{port or 'PORT'}/s/SESSION"
    window = window_of(subject) or WINDOW
    access = ModelAccess(url, KEY, MODEL, window, usual_tokens(window))
    with temporary() as temp:
        target, memory = deployment.places(temp), deployment.memory(temp)
        configured = preview(deployment, access, temp)
        path = memory.exporter.file(memory.places)
    rows = [
        ("model", f"{subject.describe().title} at {url}/v1"),
        ("agent", f"{deployment.program.title}, home {target.home}, works in {target.work}"),
        ("context", f"{deployment.context.name}, in {path}"),
        ("command", configured.command),
    ]
    text = "\n\n".join([_output.facts(rows), *_files(configured)])
    value = {
        "model": subject.name,
        "url": url,
        "agent": deployment.program.name,
        "context": deployment.context.name,
        "memory": str(path) if path else None,
        "argv": list(configured.argv),
        "env": dict(configured.env),
        "files": dict(configured.files),
    }
    _output.result("deploy", value, text, as_json=as_json)


def _tell(ready: Ready, *, as_json: bool) -> None:
    """Say what is where, and how the agent is started."""
    deployment, exported = ready.deployment, ready.exported
    head = deployment.context.head().number
    memory = exported.path if exported else None
    value: dict[str, Any] = {
        "model": ready.subject.name,
        "url": ready.url,
        "window": ready.model.window,
        "agent": deployment.program.name,
        "version": ready.version,
        "context": deployment.context.name,
        "revision": head,
        "memory": str(memory) if memory else None,
        "start": str(ready.start) if deployment.owns_home else None,
        "argv": list(ready.configured.argv),
        "env": dict(ready.configured.env),
        "files": dict(ready.configured.files),
        "session": str(ready.session),
    }
    if exported and exported.warning:
        _output.talk(f"warning: {exported.warning}")
    if ready.model.window < _SMALL_WINDOW:
        _output.talk(
            f"warning: the model reads {ready.model.window:,} tokens at most, and agents send thousands before the "
            "task begins; requests that do not fit get no reply"
        )
    _output.result("deploy", value, _told(ready, head), as_json=as_json)


def _told(ready: Ready, head: int) -> str:
    from codctl.results.agent_session import EXCHANGES

    deployment, exported = ready.deployment, ready.exported
    title = f"{deployment.program.title} {ready.version}".strip()
    name = deployment.context.name
    where = f"in {exported.path}" if exported else "not exported: --write puts it into the agent's memory in your home"
    rows = [
        ("model", f"{ready.subject.describe().title} at {ready.url}/v1"),
        ("context", f"{name}, revision {head}, {where}"),
        ("record", str(ready.session / EXCHANGES)),
    ]
    if deployment.owns_home:
        start = f"start {title} in another terminal, with its usual options:\n  {shlex.quote(str(ready.start))}"
    else:
        start = f"start {title} in another terminal:\n  {ready.configured.command}"
    update = f"after a session, make the next revision of it:\n  codctl context update {name} --from-session"
    parts = [_output.facts(rows), *_files(ready.configured), start, update, "Ctrl-C ends the model."]
    return "\n\n".join(parts)


def _files(configured: Configured) -> list[str]:
    """What is to be put into a person's own configuration."""
    return [f"in {path}:\n{text.rstrip()}" for path, text in configured.files.items()]


def _farewell(deployment: Deployment, asked: int) -> str:
    name = deployment.context.name
    times = "once" if asked == 1 else f"{asked:,} times"
    return f"the model is ended; the agent asked it {times if asked else 'nothing'}. codctl context log {name}"
