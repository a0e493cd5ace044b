"""codctl doctor: whether this machine, the cluster behind it, or an agent program can be used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codctl.cli import _complete as complete
from codctl.cli import _output
from codctl.cli._options import CONTEXTS_DIR, RUNS_DIR, ApiKeyEnv, ContextsDir, Json, ModelName, Overrides, RunsDir

if TYPE_CHECKING:
    from codctl.doctor.findings import Finding


def doctor(
    overrides: Overrides = None,
    slurm: Annotated[bool, typer.Option("--slurm", help="Look at SLURM too, also from a compute node.")] = False,
    agent: Annotated[
        str | None,
        typer.Option(
            "--agent",
            metavar="NAME",
            autocompletion=complete.agents,
            help="Look at an agent program instead: claude-code, hermes, openclaw or qwenpaw.",
        ),
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", metavar="URL", help="Of the model that the agent program shall use.")
    ] = None,
    model_name: ModelName = None,
    api_key_env: ApiKeyEnv = None,
    context: Annotated[
        str | None,
        typer.Option(
            "--context",
            metavar="NAME",
            autocompletion=complete.contexts,
            help="The context whose hints the agent program shall read; a sample when left out.",
        ),
    ] = None,
    contexts_dir: ContextsDir = CONTEXTS_DIR,
    runs_dir: RunsDir = RUNS_DIR,
    as_json: Json = False,
) -> None:
    """Check that this machine can run codctl, or that an agent program can be used with it.

    Looks at Python, torch, versions, disk and MLflow, and says what to type when something is wrong.

    With --slurm, `cluster=NAME` and `cluster.partition=NAME` choose where to look.

    With --agent, the real program plays one session with a model that follows a script: are the hints in its request,
    whole, and do calls of the world's tools come through? With --endpoint, that request is also put to a model server.
    Nothing of your own configuration of the program is read or changed.
    """
    from codctl.errors import PreflightError, UsageError

    if agent is None:
        _refuse_without_agent(endpoint, model_name, api_key_env, context)
        found = _machine(runs_dir, overrides or [], slurm=slurm)
    else:
        if slurm or overrides:
            raise UsageError("--slurm and KEY=VALUE are not for --agent", hint=f"codctl doctor --agent {agent}")
        found = _agent(agent, endpoint, model_name, api_key_env, context, contexts_dir)
    lines = [_output.table(["", "what", "finding"], [[f.status, f.name, f.message] for f in found])]
    lines += [f"→ {f.name}: {f.command}" for f in found if f.command]
    value = {"ok": all(f.status != "failed" for f in found), "findings": [f.as_dict() for f in found]}
    _output.result("doctor", value, "\n".join(lines), as_json=as_json)
    if not value["ok"]:
        raise typer.Exit(PreflightError.exit_code)


def _machine(runs_dir: Path, overrides: list[str], *, slurm: bool) -> list[Finding]:
    from codctl.doctor.machine import examine

    return [*examine(runs_dir), *(_slurm(runs_dir, overrides) if slurm else [])]


def _slurm(runs_dir: Path, overrides: list[str]) -> list[Finding]:
    from codctl.config.compose import load_config
    from codctl.doctor.slurm import examine

    return examine(runs_dir, load_config("tiny", overrides).cluster)


def _agent(
    name: str,
    endpoint: str | None,
    model_name: str | None,
    api_key_env: str | None,
    context: str | None,
    contexts_dir: Path,
) -> list[Finding]:
    import asyncio

    from codctl import trust
    from codctl.agents.program import PROGRAMS
    from codctl.contexts.block import Block
    from codctl.contexts.store import find_context
    from codctl.doctor import agent_program
    from codctl.doctor import endpoint as server
    from codctl.errors import UsageError

    PROGRAMS.check(name)
    trust.remember_imports(name)
    if endpoint is None and (model_name or api_key_env):
        raise UsageError("--model-name and --api-key-env are for --endpoint", hint="--endpoint URL")
    block = agent_program.sample_block()
    if context is not None:
        head = find_context(contexts_dir, context).head()
        if not head.text:
            raise UsageError(f"context {context} is empty", hint=f"codctl context edit {context}")
        block = Block(context, head.number, head.text)
    _output.talk(f"starting {name}, which takes up to a minute")
    seen = agent_program.examine(name, block)
    if endpoint is None or seen.request is None:
        return seen.findings
    _output.talk(f"asking {endpoint}")
    asked = server.examine(endpoint, model_name, api_key_env, seen.request, agent_program.REPLY_TOKENS)
    return [*seen.findings, *asyncio.run(asked)]


def _refuse_without_agent(*options: str | None) -> None:
    from codctl.errors import UsageError

    names = ("--endpoint", "--model-name", "--api-key-env", "--context")
    for name, given in zip(names, options, strict=True):
        if given is not None:
            raise UsageError(f"{name} is for --agent", hint=f"codctl doctor --agent NAME {name} …")
