"""A world as a tool server (Model Context Protocol): lines of JSON-RPC over a Unix socket, in this event loop.

The agent program starts `relay.py`, which pipes its standard input and output to the socket. What the program sends is
anybody's text: it is bounded, read as JSON and answered; nothing in it can end the server.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import codctl
from codctl.agents.program import ToolServer

NAME = "world"
RELAY = Path(__file__).with_name("relay.py")
_PROTOCOL = "2025-06-18"  # where the client names none
_MOST_BYTES = 1 << 20  # of a line
_MOST_CLIENTS = 16
_PARSE_ERROR, _INVALID, _NO_METHOD, _BAD_PARAMETERS = -32700, -32600, -32601, -32602
_OBSERVE = {
    "name": "observe",
    "description": "Show the current state of the task.",
    "inputSchema": {"type": "object", "properties": {}},
}
_ACT = {
    "name": "act",
    "description": "Play one action and get the next observation.",
    "inputSchema": {
        "type": "object",
        "properties": {"text": {"type": "string", "description": "The action, in the form that the task asks for."}},
        "required": ["text"],
    },
}

Answer = dict[str, Any]


class _RequestError(Exception):
    """A request that is answered with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class WorldServer:
    """Serves `observe` and `act` to all who connect to its socket, until `open` ends.

    Attributes:
        tools: How an agent program starts and reaches it.
        calls: Tool calls that reached the world.
    """

    def __init__(self, observe: Callable[[], str], act: Callable[[str], Awaitable[str]], socket: Path) -> None:
        self._observe, self._act = observe, act
        self._clients: set[asyncio.Task[Any]] = set()
        self._problem: Exception | None = None
        self.tools = ToolServer(NAME, (sys.executable, "-I", "-S", str(RELAY), str(socket)))
        self.calls = 0

    @classmethod
    @asynccontextmanager
    async def open(
        cls, observe: Callable[[], str], act: Callable[[str], Awaitable[str]], folder: Path
    ) -> AsyncIterator[Self]:
        """Serve while the block lasts.

        Args:
            observe: Shows the state of the task.
            act: Plays an action and returns what it led to.
            folder: Where the socket is made, which only this user may connect to. Linux allows paths of 107 bytes.

        Raises:
            OSError: The socket cannot be made.
            Exception: What `observe` or `act` raised, when the block ends.
        """
        socket = folder / f"{NAME}.sock"
        server = cls(observe, act, socket)
        listener = await asyncio.start_unix_server(server._serve, socket, limit=_MOST_BYTES, start_serving=False)
        try:
            socket.chmod(0o600)
            await listener.start_serving()
            yield server
        finally:
            listener.close()
            await server._close()
            socket.unlink(missing_ok=True)
        if server._problem:
            raise server._problem

    async def _close(self) -> None:
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            if len(self._clients) <= _MOST_CLIENTS:
                async for line in _lines(reader):
                    if answer := await self._answered(line):
                        writer.write(json.dumps(answer).encode() + b"\n")
                        await writer.drain()
        except ConnectionError:
            pass  # it has gone
        except asyncio.CancelledError:
            writer.transport.abort()  # the server closes; what is not read by now never will be
        finally:
            self._clients.discard(task)
            writer.close()

    async def _answered(self, line: bytes | None) -> Answer | None:
        """The answer to a line; None for what asks for none."""
        number = None
        if line == b"\n":
            return None
        try:
            request = _request(line)
            number = request.get("id")
            if number is None:
                return None
            result = await self._result(request.get("method"), _mapping(request.get("params") or {}))
        except _RequestError as error:
            return {"jsonrpc": "2.0", "id": number, "error": {"code": error.code, "message": str(error)}}
        return {"jsonrpc": "2.0", "id": number, "result": result}

    async def _result(self, method: object, parameters: Mapping[str, Any]) -> Answer:
        if method == "initialize":
            return {
                "protocolVersion": str(parameters.get("protocolVersion", _PROTOCOL)),
                "capabilities": {"tools": {}},
                "serverInfo": {"name": NAME, "version": codctl.__version__},
            }
        if method == "ping":
            return {}
        if method == "tools/list":
            return {"tools": [_OBSERVE, _ACT]}
        if method == "tools/call":
            return await self._called(parameters.get("name"), _mapping(parameters.get("arguments") or {}))
        raise _RequestError(_NO_METHOD, "there is no such method")

    async def _called(self, tool: object, arguments: Mapping[str, Any]) -> Answer:
        if tool not in ("observe", "act"):
            raise _RequestError(_BAD_PARAMETERS, "there are two tools: observe and act")
        self.calls += 1
        try:
            if tool == "observe":
                return _content(self._observe())
            text = arguments.get("text")
            if not isinstance(text, str):
                return _content("act needs the argument `text`, a string.", is_error=True)
            return _content(await self._act(_without_halves(text)))
        except Exception as error:  # noqa: BLE001  the program is told, and `open` raises it
            self._problem = self._problem or error
            return _content("The world has failed. Stop now.", is_error=True)


def _content(text: str, *, is_error: bool = False) -> Answer:
    return {"content": [{"type": "text", "text": text}], "isError": is_error}


def _without_halves(text: str) -> str:
    """JSON may hold halves of surrogate pairs, which files cannot."""
    return text.encode(errors="replace").decode()


def _request(line: bytes | None) -> Mapping[str, Any]:
    if line is None:
        raise _RequestError(_INVALID, f"a line is longer than {_MOST_BYTES:,} bytes")
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _RequestError(_PARSE_ERROR, "a line is no JSON") from error
    if not isinstance(request, dict) or not isinstance(request.get("id"), str | int | None):
        raise _RequestError(_INVALID, "a line is no request")
    return request


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _RequestError(_BAD_PARAMETERS, "parameters and arguments are objects")
    return value


async def _lines(reader: asyncio.StreamReader) -> AsyncIterator[bytes | None]:
    """The lines that are sent; None for one that is too long, which is skipped."""
    is_too_long = False
    while True:
        try:
            line = await reader.readuntil(b"\n")
        except asyncio.LimitOverrunError as error:
            await reader.readexactly(error.consumed)
            is_too_long = True
            continue
        except asyncio.IncompleteReadError:
            return
        yield None if is_too_long else line
        is_too_long = False
