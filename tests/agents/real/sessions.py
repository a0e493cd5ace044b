"""Sessions of real agent programs with a scripted model behind the proxy and a world of two tools."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import pytest

from codctl.agents import acp, session
from codctl.agents.places import fresh_places
from codctl.agents.program import PROGRAMS, AgentProgram, ModelAccess, Outcome, Task
from codctl.agents.proxy.models import ChatReply, ChatRequest, ToolCall
from codctl.agents.proxy.server import ModelProxy
from codctl.agents.proxy.session import Exchange
from codctl.agents.world_server import WorldServer
from codctl.cod.engine import EngineError
from codctl.contexts.block import Block
from codctl.errors import PreflightError

HINTS = Block("lake", 3, "K moves up.\n日本: Q moves down – or not.")
WON = "The task is over. You won."
_INTERNET = re.compile(r"sa_family=AF_INET6?, .*?(?:inet_addr\(\"|inet_pton\(AF_INET6, \")([^\"]+)")
_DEADLINE_S = 300.0  # some need a minute on a busy machine

Step = tuple[str, dict[str, str]] | str | EngineError


@dataclass
class Scripted:
    """Calls tools and says things, one after another; the last one again and again.

    Attributes:
        steps: A tool, by the end of its name, with its arguments; a text; or an error.
    """

    steps: Sequence[Step]
    protocol: Literal["answer", "tools"] = "tools"
    _asked: int = field(default=0)

    async def chat(self, request: ChatRequest) -> ChatReply:
        step = self.steps[min(self._asked, len(self.steps) - 1)]
        if isinstance(step, EngineError):
            raise step
        self._asked += 1
        if isinstance(step, str):
            return ChatReply(step)
        name = next(name for name in request.tool_names if name.endswith(step[0]))
        return ChatReply(tool_calls=[ToolCall(f"call{self._asked}", name, json.dumps(step[1]))])


@dataclass(frozen=True)
class Played:
    """A session that is over.

    Attributes:
        exchanges: All that reached the model.
        actions: What was played in the world.
        outcome: What the program says.
        ran: Its process.
        kept: What its memory holds.
        reached: Addresses that it, or a child of it, connected to; None where this was not watched.
    """

    exchanges: Sequence[Exchange]
    actions: Sequence[str]
    outcome: Outcome
    ran: session.Session
    kept: str
    reached: set[str] | None

    @property
    def first(self) -> ChatRequest:
        return self.exchanges[0].request


def program_of(name: str) -> AgentProgram:
    program = PROGRAMS.get(name)
    try:
        program.executable()
    except PreflightError as error:
        pytest.skip(f"{error}; {error.hint}")
    return program


def play(
    program: AgentProgram,
    folder: Path,
    steps: Sequence[Step],
    *,
    tools: Literal["none", "memory", "all"] = "none",
    max_turns: int = 8,
    watched: bool = False,
) -> Played:
    """Let a program go through a session; `watched`: with strace, where it is installed."""
    return asyncio.run(
        _play(program, folder, Scripted(steps), tools, max_turns, watched and bool(shutil.which("strace")))
    )


async def _play(
    program: AgentProgram,
    folder: Path,
    model: Scripted,
    tools: Literal["none", "memory", "all"],
    max_turns: int,
    watched: bool,
) -> Played:
    actions: list[str] = []

    async def act(text: str) -> str:
        actions.append(text)
        return WON

    trace = folder / "connections"
    async with ModelProxy.open() as proxy:
        asked = proxy.session(model, folder, max_calls=max_turns)
        access = ModelAccess(asked.url, "no-secret", "codctl", 131_072, 4_096)
        with fresh_places() as places:
            async with WorldServer.open(lambda: WON if actions else "You stand at A.", act, places.temp) as world:
                server = None if tools == "memory" else world.tools
                task = Task("Use the tools of the server `world`.", str(HINTS), server, tools, max_turns, _DEADLINE_S)
                launch = program.prepare(places, access, task)
                if watched:
                    strace = ("strace", "-f", "-q", "-e", "trace=connect,sendto", "-o", str(trace))
                    launch = replace(launch, argv=(*strace, *launch.argv))
                lead = partial(acp.lead, launch=launch, task=task) if launch.speaks == "acp" else None
                ran = await session.run(launch, folder, deadline_s=_DEADLINE_S, lead=lead)
                outcome, kept = program.outcome(places, ran.finished), program.kept(places)
        reached = set(_INTERNET.findall(trace.read_text(errors="replace"))) if watched else None
        return Played(asked.exchanges, actions, outcome, ran, kept, reached)
