"""Client of the Agent Client Protocol: leads a session of an agent program through its standard input and output.

One JSON-RPC message a line: `initialize`, `session/new` with the world's tool server, `session/prompt` with the task.
The program tells what it does (`session/update`) and asks whether it may (`session/request_permission`); it may use the
world's tools, and others only where the task leaves it its own. What it says is anybody's text: it is read as JSON and
nothing in it can end codctl. https://agentclientprotocol.com
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from codctl.agents.program import Launch, Task
from codctl.agents.session import Lead

_VERSION = 1
_INITIALIZE, _NEW, _PROMPT = 1, 2, 3  # ids of our requests
_CANCEL_S = 5.0  # before its deadline it is asked to stop
_NO_METHOD = -32601
_FILES = ("read_file", "write_file", "edit_file")

Message = dict[str, Any]


async def lead(stdout: asyncio.StreamReader, stdin: asyncio.StreamWriter, launch: Launch, task: Task) -> None:
    """Go through a session until the prompt is answered, or the program says no more.

    Args:
        stdout: What the program says.
        stdin: What it reads.
        launch: How it was started.
        task: What the session is for. Shortly before its deadline the program is asked to stop.
    """
    await _Client(stdout, stdin, launch, task).lead()


def leader(launch: Launch, task: Task) -> Lead | None:
    """Who leads a session of this program; None where it goes through its task by itself."""
    return partial(lead, launch=launch, task=task) if launch.speaks == "acp" else None


class _Client:
    def __init__(self, stdout: asyncio.StreamReader, stdin: asyncio.StreamWriter, launch: Launch, task: Task) -> None:
        self._stdout, self._stdin, self._launch, self._task = stdout, stdin, launch, task
        self._deadline_s = asyncio.get_running_loop().time() + max(task.deadline_s - _CANCEL_S, task.deadline_s / 2)
        self._session = ""

    async def lead(self) -> None:
        client = {
            "protocolVersion": _VERSION,
            "clientCapabilities": {},
            "clientInfo": {"name": "codctl", "version": "1"},
        }
        if await self._call(_INITIALIZE, "initialize", client) is None:
            return
        place = {"cwd": str(self._launch.cwd), "mcpServers": [*self._servers()]}
        self._session = str((await self._call(_NEW, "session/new", place) or {}).get("sessionId") or "")
        if not self._session:
            return
        prompt = {"sessionId": self._session, "prompt": [{"type": "text", "text": self._task.prompt}]}
        try:
            async with asyncio.timeout_at(self._deadline_s):
                await self._call(_PROMPT, "session/prompt", prompt)
        except TimeoutError:
            await self._send({"method": "session/cancel", "params": {"sessionId": self._session}})
            await self._answer_to(_PROMPT)

    def _servers(self) -> Iterator[Message]:
        if server := self._task.server:
            yield {"name": server.name, **server.command, "env": []}

    async def _call(self, number: int, method: str, parameters: Message) -> Message | None:
        await self._send({"id": number, "method": method, "params": parameters})
        return await self._answer_to(number)

    async def _send(self, message: Message) -> None:
        self._stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        await self._stdin.drain()

    async def _answer_to(self, number: int) -> Message | None:
        """The result of a request, while what the program asks is answered; None if there is none."""
        while line := await self._line():
            message = read_message(line)
            if "method" in message:
                if "id" in message:
                    await self._send({"id": message["id"], **self._answered(message)})
            elif message.get("id") == number:
                result = message.get("result")
                return result if isinstance(result, dict) else None
        return None

    async def _line(self) -> bytes:
        try:
            return await self._stdout.readline()
        except ValueError:  # longer than anything that the protocol has to say
            return b""

    def _answered(self, message: Message) -> Message:
        if message["method"] != "session/request_permission":
            return {"error": {"code": _NO_METHOD, "message": "codctl has no such method"}}
        parameters = _mapping(message.get("params"))
        may = _is_allowed(self._task, self._session, _mapping(parameters.get("toolCall")))
        return {"result": {"outcome": _chosen(parameters.get("options"), "allow" if may else "reject")}}


def read_message(line: bytes | str) -> Message:
    """A line as a message; empty for what is none, such as a program's own remarks."""
    try:
        return _mapping(json.loads(line))
    except (ValueError, RecursionError):
        return {}


def read_messages(lines: Iterable[str]) -> Iterator[Message]:
    """What a program said in a session, in order."""
    return filter(None, map(read_message, lines))


def answer_to_prompt(messages: Iterable[Message]) -> Message | None:
    """The program's answer to the prompt of a session that was led by `lead`; None where there is none."""
    return next((one for one in messages if "method" not in one and one.get("id") == _PROMPT), None)


def updates(messages: Iterable[Message]) -> Iterator[Message]:
    """What a program told of its doing, in order."""
    for message in messages:
        if message.get("method") == "session/update":
            yield _mapping(_mapping(message.get("params")).get("update"))


def _is_allowed(task: Task, session: str, call: Message) -> bool:
    if task.tools == "all":
        return True
    title = str(call.get("title") or "")
    if task.tools == "memory" and title.split(" ")[0] in _FILES:
        return True
    return task.server is not None and any(map(title.startswith, _names_of(task.server.name, session)))


def _names_of(server: str, session: str) -> tuple[str, ...]:
    """How the titles of a server's tools begin: by the common forms, and by QwenPaw's name for it."""
    digest = hashlib.sha256(f"{session}\0{server}".encode()).hexdigest()[:20]
    return f"{server}__", f"mcp__{server}__", f"driver:mcp:acp_{digest} "


def _chosen(options: object, wish: str) -> Message:
    """The option of a kind, such as `allow_once`, and rather once than always."""
    found = [_mapping(option) for option in options] if isinstance(options, list) else []
    fitting = sorted(str(one.get("kind")) for one in found if str(one.get("kind")).startswith(wish))
    for one in found:
        if fitting and one.get("kind") == fitting[-1]:
            return {"outcome": "selected", "optionId": one.get("optionId")}
    return {"outcome": "cancelled"}


def _mapping(value: object) -> Message:
    return value if isinstance(value, dict) else {}
