"""Sessions of real agent programs with a scripted model behind the proxy and a world of two tools."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

from codctl.agents import acp, session
from codctl.agents.places import fresh_places
from codctl.agents.program import AgentProgram, ModelAccess, Outcome, Task, ToolServer
from codctl.agents.proxy.models import ChatReply, ChatRequest, ToolCall
from codctl.agents.proxy.server import ModelProxy
from codctl.agents.proxy.session import Exchange
from codctl.agents.world_server import WorldServer
from codctl.cod.engine import EngineError
from codctl.contexts.block import Block

HINTS = Block("lake", 3, "K moves up.\n日本: Q moves down – or not.")
WON = "The task is over. You won."
_INTERNET = re.compile(r"sa_family=AF_INET6?, .*?(?:inet_addr\(\"|inet_pton\(AF_INET6, \")([^\"]+)")
_DEADLINE_S = 600.0  # some need minutes on a busy machine

Call = tuple[str, dict[str, str]]
Step = Call | str | EngineError | Callable[[ChatRequest], Call]


@dataclass
class Scripted:
    """Calls tools and says things, one after another; the last one again and again.

    Attributes:
        steps: A tool, by the end of its name, with its arguments, which may depend on the request; a text; or an error.
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
        step = step(request) if callable(step) else step
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


def play(
    program: AgentProgram,
    folder: Path,
    steps: Sequence[Step],
    *,
    tools: Literal["none", "memory", "all"] = "none",
    max_turns: int = 8,
    most_calls: int | None = None,
    hints: Block = HINTS,
    late_s: float = 0.0,
    watched: bool = False,
) -> Played:
    """Let a program go through a session.

    Args:
        program: The real one.
        folder: For what it says.
        steps: Of the model.
        tools: That it keeps beside the world's.
        max_turns: That it is told.
        most_calls: That the proxy allows; `max_turns` when left out.
        hints: In its memory.
        late_s: Seconds after which its tool server starts.
        watched: With strace, where it is installed.
    """
    task = Task("Use the tools of the server `world`.", str(hints), None, tools, max_turns, _DEADLINE_S)
    is_watched = watched and bool(shutil.which("strace"))
    return asyncio.run(_play(program, folder, Scripted(steps), task, most_calls or max_turns, late_s, is_watched))


async def _play(
    program: AgentProgram,
    folder: Path,
    model: Scripted,
    task: Task,
    most_calls: int,
    late_s: float,
    watched: bool,
) -> Played:
    actions: list[str] = []

    async def act(text: str) -> str:
        actions.append(text)
        return WON

    trace = folder / "connections"
    async with ModelProxy.open() as proxy:
        asked = proxy.session(model, folder, max_calls=most_calls)
        access = ModelAccess(asked.url, "no-secret", "codctl", 131_072, 4_096)
        with fresh_places() as places:
            async with WorldServer.open(lambda: WON if actions else "You stand at A.", act, places.temp) as world:
                task = replace(task, server=None if task.tools == "memory" else _late(world.tools, late_s))
                launch = program.prepare(places, access, task)
                if watched:
                    strace = ("strace", "-f", "-q", "-e", "trace=connect,sendto", "-o", str(trace))
                    launch = replace(launch, argv=(*strace, *launch.argv))
                lead = partial(acp.lead, launch=launch, task=task) if launch.speaks == "acp" else None
                ran = await session.run(launch, folder, deadline_s=_DEADLINE_S, lead=lead)
                outcome, kept = program.outcome(places, ran.finished), program.kept(places)
        reached = set(_INTERNET.findall(trace.read_text(errors="replace"))) if watched else None
        return Played(asked.exchanges, actions, outcome, ran, kept, reached)


def _late(server: ToolServer, seconds: float) -> ToolServer:
    if not seconds:
        return server
    return ToolServer(server.name, ("/bin/sh", "-c", 'sleep "$0"; exec "$@"', str(seconds), *server.argv))
