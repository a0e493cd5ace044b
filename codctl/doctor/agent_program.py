"""Whether an agent program works here: one session of the real program, with a model that follows a script.

The program reads hints from its own memory file, asks codctl's proxy, and plays a world of one action through the tool
server. All is judged by what reached proxy and world; what the program says of itself is only repeated.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from codctl.agents import acp, session
from codctl.agents.last_words import last_line
from codctl.agents.places import fresh_places
from codctl.agents.program import PROGRAMS, AgentProgram, ModelAccess, Outcome, Places, Task
from codctl.agents.proxy.models import ChatReply, ChatRequest, ToolCall
from codctl.agents.proxy.server import ModelProxy
from codctl.agents.proxy.session import Exchange, acting_request
from codctl.agents.world_server import WorldServer
from codctl.contexts.block import Block, find_blocks, holds_marker
from codctl.contexts.exporters.base import EXPORTERS
from codctl.doctor.findings import Finding
from codctl.errors import CodctlError

PROMPT = (
    "This is a check of your tools. Use the tools of the server `world`: look with `observe`, then play with `act`."
)
_TOOLS = ("observe", "act")
_ACTION = "ok"
_SHOWN = "One action is left. Play `ok`."
OVER = "The task is over. You have nothing more to do."
_TITLE = "A check"
_MOST_CALLS = 10
_DEADLINE_S = 240.0
_POLICIES = {"claude-code": Path("/etc/claude-code"), "hermes": Path("/etc/hermes")}
WINDOW, REPLY_TOKENS = 65_536, 2_048  # what the program is told of its model, unless a server says otherwise


@dataclass(frozen=True)
class Seen:
    """A session that is over.

    Attributes:
        exchanges: At the proxy.
        actions: Played in the world.
        outcome: What the program says.
        wall_s: Seconds that it took.
        peak_mb: Memory that it took.
        said: Its last words on the error stream.
    """

    exchanges: tuple[Exchange, ...]
    actions: tuple[str, ...]
    outcome: Outcome
    wall_s: float
    peak_mb: float
    said: str

    @property
    def request(self) -> ChatRequest | None:
        """The first that could act on what it holds."""
        return acting_request(self.exchanges)


@dataclass(frozen=True)
class Examined:
    """What was found, and the request that a server may now be asked to answer."""

    findings: list[Finding]
    request: ChatRequest | None = None


def sample_block() -> Block:
    """Hints of a usual length, for a check without a context. Each line differs, so that no cut goes unseen."""
    lines = [
        f"{number}. In room {number * 37 % 101}, lever {number * 53 % 89} opens the door." for number in range(1, 25)
    ]
    return Block("sample", 1, "\n".join(lines))


def examine(name: str, block: Block) -> Examined:
    """Look at an agent program.

    Args:
        name: `claude-code`, …
        block: Hints that its request must hold.

    Raises:
        UsageError: There is no such program.
    """
    program = PROGRAMS.get(name)
    try:
        version = _version(program)
    except CodctlError as error:
        return Examined([Finding(name, "failed", _in_one(error), error.hint or program.install)])
    memory = memory_finding(program, block)
    if memory.status == "failed":
        return Examined([version, memory])
    try:
        seen = asyncio.run(_session(program, block))
    except CodctlError as error:
        return Examined([version, memory, Finding("session", "failed", _in_one(error), error.hint)])
    return Examined([version, *_policy(name), memory, *findings_of(seen, block)], seen.request)


def _version(program: AgentProgram) -> Finding:
    executable, version = program.executable(), program.version()
    where = f"{version or 'of unknown version'} ({executable})"
    if version == program.tried:
        return Finding(program.name, "ok", where)
    return Finding(program.name, "warning", f"{where}; codctl was tried with {program.tried}", program.install)


def _policy(name: str) -> Iterator[Finding]:
    """Settings that an administrator has made for everybody; codctl does not go around them."""
    folder = _POLICIES.get(name)
    if folder and folder.exists() and any(folder.iterdir()):
        yield Finding("policy", "warning", f"settings of this machine's administrator apply in every session: {folder}")


def memory_finding(program: AgentProgram, block: Block) -> Finding:
    """Whether a file with nothing but the hints is read whole by the program as it comes."""
    exporter, text = EXPORTERS.get(program.memory), str(block)
    shorten = f"codctl context edit {block.name}"
    if exporter.hard and (excess := exporter.hard.excess(text)):
        return Finding("memory", "failed", f"{exporter.title} would have {excess}", shorten)
    if exporter.soft and (excess := exporter.soft.excess(text)):
        return Finding("memory", "warning", f"{exporter.title} would have {excess}", shorten)
    return Finding("memory", "ok", f"{len(block.text):,} characters of hints fit into {exporter.title}")


class _Script:
    """A model that looks, acts and stops."""

    protocol: Literal["tools"] = "tools"

    async def chat(self, request: ChatRequest) -> ChatReply:
        names = _world_tools(request)
        done = sum(1 for _ in request.results())
        if len(names) < len(_TOOLS):
            return ChatReply(_TITLE)
        if done >= len(_TOOLS):
            return ChatReply("Done.")
        arguments = {"text": _ACTION} if done else {}
        return ChatReply(tool_calls=[ToolCall(f"call_{done}", names[done], json.dumps(arguments))])


def _world_tools(request: ChatRequest) -> list[str]:
    """What the program calls the tools of the world, in their order: `mcp__world__observe`, `world__observe`."""
    found = (next((name for name in request.tool_names if name.endswith(tool)), "") for tool in _TOOLS)
    return [name for name in found if name]


async def _session(program: AgentProgram, block: Block) -> Seen:
    actions: list[str] = []

    async def act(text: str) -> str:
        actions.append(text)
        return OVER

    def observe() -> str:
        return OVER if actions else _SHOWN

    with tempfile.TemporaryDirectory(prefix="codctl-") as folder, fresh_places() as places:
        async with (
            ModelProxy.open() as proxy,
            WorldServer.open(observe, act, places.temp) as server,
        ):
            asked = proxy.session(
                _Script(), None, max_calls=_MOST_CALLS, max_tokens=REPLY_TOKENS, context_window=WINDOW
            )
            task = Task(PROMPT, str(block), server.tools, "none", _MOST_CALLS, _DEADLINE_S)
            access = ModelAccess(asked.url, "codctl", asked.name, WINDOW, REPLY_TOKENS)
            ran = await _ran(program, places, access, task, Path(folder))
        finished = ran.finished
        return Seen(
            tuple(asked.exchanges),
            tuple(actions),
            program.outcome(places, finished),
            ran.wall_s,
            ran.peak_mb,
            last_line(finished.stderr),
        )


async def _ran(program: AgentProgram, places: Places, access: ModelAccess, task: Task, folder: Path) -> session.Session:
    launch = program.prepare(places, access, task)
    return await session.run(launch, folder, deadline_s=task.deadline_s, lead=acp.leader(launch, task))


def findings_of(seen: Seen, block: Block) -> Iterator[Finding]:
    request = seen.request
    yield _session_finding(seen)
    if request is None:
        return
    yield _request(request)
    yield _context(request, block)
    yield _tools(request)
    yield _calls(seen)


def _session_finding(seen: Seen) -> Finding:
    outcome = seen.outcome
    took = f"{seen.wall_s:.1f} s, {seen.peak_mb:.0f} MB"
    if not seen.exchanges:
        reason = outcome.problem or seen.said or outcome.text or "it said nothing"
        ended = "did not end" if outcome.end == "timeout" else "ended"
        return Finding("session", "failed", f"it {ended} without asking the model ({took}): {reason}")
    if outcome.end != "ended":
        reason = outcome.problem or seen.said or "it gives no reason"
        return Finding(
            "session", "failed", f"it says {outcome.end} after {len(seen.exchanges)} calls ({took}): {reason}"
        )
    return Finding("session", "ok", f"{len(seen.exchanges)} calls of the model ({took})")


def _request(request: ChatRequest) -> Finding:
    chars = len(request.text)
    tools = sum(len(json.dumps(tool)) for tool in request.tools)
    if PROMPT not in request.text:
        return Finding("request", "failed", f"the task does not stand in it whole ({chars:,} characters)")
    mine = len(PROMPT)
    return Finding("request", "ok", f"{chars - mine:,} characters beside the task, and {tools:,} that declare tools")


def _context(request: ChatRequest, block: Block) -> Finding:
    text = request.text
    if any(found == block for found in find_blocks(text)):
        where = next(message["role"] for message in request.messages if find_blocks(ChatRequest([message]).text))
        message = f"{block.name}, revision {block.revision}, stands in it whole, in the {where} message"
        return Finding("context", "ok", message)
    if not holds_marker(text):
        return Finding(
            "context", "failed", "the hints are not in the request: the program did not read its memory file"
        )
    lines = block.text.splitlines()
    kept = sum(line in text for line in lines)
    message = f"the hints are not whole: {kept} of their {len(lines)} lines stand in the request"
    return Finding("context", "failed", message, f"codctl context edit {block.name}")


def _tools(request: ChatRequest) -> Finding:
    names, mine = request.tool_names, _world_tools(request)
    if len(mine) < len(_TOOLS):
        shown = ", ".join(names) or "none at all"
        return Finding("tools", "failed", f"the world's tools are not in the request; it declares {shown}")
    if others := sorted(set(names) - set(mine)):
        return Finding("tools", "warning", f"beside those of the world it declares {', '.join(others)}")
    return Finding("tools", "ok", f"{' and '.join(mine)}, and no others")


def _calls(seen: Seen) -> Finding:
    """Whether calls came through: from a streamed reply to the world, and the result back into the next request."""
    how = "streamed" if any(exchange.streamed for exchange in seen.exchanges) else "not streamed"
    results = {text for exchange in seen.exchanges for _, text in exchange.request.results()}
    if not seen.actions:
        return Finding("tool calls", "failed", f"the model called the world's tools ({how}), but nothing was played")
    if not any(OVER in text for text in results):
        return Finding("tool calls", "failed", f"calls ({how}) reached the world, but its answers did not come back")
    if set(seen.actions) != {_ACTION}:
        return Finding("tool calls", "failed", f"the world was played {', '.join(map(repr, seen.actions))}, not 'ok'")
    wrapped = "" if OVER in results else "; answers are wrapped, which codctl's proxy undoes in the protocol answer"
    return Finding("tool calls", "ok", f"calls ({how}) reach the world and its answers come back{wrapped}")


def _in_one(error: CodctlError) -> str:
    return f"{error.message} ({error.where})" if error.where else error.message
