"""The options of codctl eval that put a subject into an agent program."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from codctl.cli import _complete as complete
from codctl.errors import UsageError

if TYPE_CHECKING:
    from codctl.agents.setup import Protocol, Sandbox, Tools, Update
    from codctl.evaluate.subject import PolicyUnderTest

Agent = Annotated[
    str | None,
    typer.Option(
        "--agent",
        metavar="NAME",
        autocompletion=complete.agents,
        help="Play inside a real agent program: claude-code, hermes, openclaw, qwenpaw, or one that a package adds.",
    ),
]
ProtocolOption = Annotated[
    Literal["answer", "tools"] | None,
    typer.Option(
        "--protocol",
        help="answer: the model reads the form that it was trained on; tools: it reads what the agent writes. "
        "answer when left out, and tools for --endpoint.",
    ),
]
UpdateOption = Annotated[
    Literal["codctl", "agent"] | None,
    typer.Option(
        "--update",
        help="Who writes the hints: codctl asks the model with its own prompt (the default), or the agent writes its "
        "own memory.",
    ),
]
ToolsOption = Annotated[
    Literal["none", "all"] | None,
    typer.Option(
        "--agent-tools",
        help="Tools of the agent beside those of the world: none (the default), or all, with shell and files.",
    ),
]
DeadlineOption = Annotated[
    float | None,
    typer.Option(
        "--agent-deadline",
        metavar="SECONDS",
        min=1,
        help="Most time for one session; 600 when left out.",
    ),
]
SandboxOption = Annotated[
    Literal["none", "unshare"] | None,
    typer.Option(
        "--agent-sandbox",
        help="unshare: no network but the model's, no processes and few files of others. none is the default.",
    ),
]
KeepHomes = Annotated[bool, typer.Option("--keep-homes", help="Keep the folders that the agent lived in.")]


@dataclass(frozen=True)
class AskedAgent:
    """The options as typed."""

    agent: str | None = None
    protocol: Protocol | None = None
    update: Update | None = None
    tools: Tools | None = None
    deadline_s: float | None = None
    sandbox: Sandbox | None = None
    keep_homes: bool = False

    def refuse_unused(self) -> None:
        """Without an agent program, none of its options means anything."""
        options = {
            "--protocol": self.protocol,
            "--update": self.update,
            "--agent-tools": self.tools,
            "--agent-deadline": self.deadline_s,
            "--agent-sandbox": self.sandbox,
            "--keep-homes": self.keep_homes or None,
        }
        given = next((option for option, value in options.items() if value is not None), None)
        if self.agent is None and given:
            raise UsageError(f"{given} is for --agent", hint=f"--agent NAME {given} …")


def with_agent(subject: PolicyUnderTest, asked: AskedAgent, concurrency: int | None) -> PolicyUnderTest:
    """The subject in the agent program that was asked for, if one was.

    Raises:
        UsageError: There is none of this name, or the options do not go together.
        PreflightError: It is not installed, or this machine makes no sandbox.
    """
    if asked.agent is None:
        return subject
    from codctl import trust
    from codctl.agents.program import PROGRAMS
    from codctl.agents.sandbox import check_sandbox
    from codctl.agents.setup import DEADLINE_S, AgentSetup
    from codctl.evaluate.by_agent import default_concurrency

    protocol = asked.protocol or ("tools" if subject.kind == "endpoint" else "answer")
    _check(subject, protocol, asked.update)
    if asked.sandbox == "unshare":
        check_sandbox()
    trust.remember_imports(asked.agent)
    program = PROGRAMS.get(asked.agent)
    setup = AgentSetup(
        asked.agent,
        program.title,
        program.version(),
        protocol,
        asked.update or "codctl",
        asked.tools or "none",
        asked.deadline_s or DEADLINE_S,
        asked.sandbox or "none",
        concurrency or default_concurrency(),
        asked.keep_homes,
    )
    return replace(subject, agent=setup)


def _check(subject: PolicyUnderTest, protocol: Protocol, update: Update | None) -> None:
    if subject.kind == "policy" and protocol == "tools":
        raise UsageError("a scripted policy reads no prompt and calls no tools", hint="--protocol answer")
    if update == "agent" and protocol == "answer":
        raise UsageError(
            "--update agent needs a model that uses the agent's memory; with --protocol answer it sees no tools",
            hint="--protocol tools, with a model that calls tools",
        )
