"""Engines on another node, asked over HTTP: `NodeEngine` is one of them, `Node` what they share."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from codctl.cod.engine import EngineStats, Generation, LostError, RequestTag, Sampling, Weights
from codctl.cod.requests import end
from codctl.engines.nodes import wire
from codctl.engines.provider import OpenEngine, Opening, provider_of
from codctl.engines.replicas import Replicas, parts_of
from codctl.errors import BackendError

T = TypeVar("T")

_LOOK_S, _ANSWER_S = 1.0, 10.0
_MISSES = 6  # looks in a row without an answer before a node is lost; one may fall into a long stop of this process
_KEPT = 2  # versions of weights on a node: the one in use, and one that will be wanted again
_TRIES = 2
_AGAIN = "the same command continues from the newest checkpoint"


@dataclass(frozen=True)
class Address:
    """Where the engines of a node are reached.

    Attributes:
        name: Of the node.
        url: Of its server.
        token: What it wants to see.
    """

    name: str
    url: str
    token: str


def open_on_nodes(opening: Opening, addresses: Sequence[Address]) -> OpenEngine:
    """The engines of a recipe on this node and on others, where there are others, as one."""
    here = provider_of(opening.config).open(opening)
    if not addresses:
        return here
    members = list(parts_of(here))
    each = len(members)
    for address in addresses:
        node = Node(address, opening)
        members += [NodeEngine(node, number) for number in range(each)]
    return Replicas(members)


class Node:
    """The connection to a node. It is lost for good when the node does not answer any more.

    Args:
        address: Of the node.
        opening: What its engines are opened with, beside its own log.
    """

    def __init__(self, address: Address, opening: Opening) -> None:
        self.name, self._address, self._opening = address.name, address, opening
        self._http: aiohttp.ClientSession | None = None
        self._watch: asyncio.Task[None] | None = None
        self._lost: asyncio.Future[BackendError] | None = None
        self._one_at_a_time = asyncio.Lock()
        self._weights: list[str] = []
        self._ready: list[bool] = []
        self._users = 0

    @property
    def is_lost(self) -> bool:
        return self._lost is not None and self._lost.done()

    def is_ready(self, number: int) -> bool:
        """Whether an engine could be asked when it was last heard of."""
        return number < len(self._ready) and self._ready[number]

    def note_away(self, number: int) -> None:
        """An engine has just lost a request."""
        self._ready[number] = False

    async def connect(self) -> None:
        """Open the node's engines, once for all who use them.

        Raises:
            BackendError: The node does not answer, or cannot open them.
        """
        async with self._one_at_a_time:
            self._users += 1
            if self._http is not None:
                return
            self._lost = asyncio.get_running_loop().create_future()
            self._http = aiohttp.ClientSession(
                self._address.url,
                connector=aiohttp.TCPConnector(limit=0),
                headers={"Authorization": f"Bearer {self._address.token}"},
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_ANSWER_S),
                read_bufsize=wire.LONGEST,
            )
            opening = self._opening
            log = opening.log.with_stem(f"{opening.log.stem}-{self.name}")
            asked = {
                "folder": str(opening.folder.absolute()),
                "base": str(opening.base.absolute()),
                "gpus": opening.gpus,
                "log": str(log.absolute()),
            }
            await self.call("POST", "/open", asked)
            await self.look()
            self._watch = asyncio.create_task(self._keep_looking(), name=f"watch of {self.name}")

    async def disconnect(self) -> None:
        """The last one who uses it ends the node's engines."""
        async with self._one_at_a_time:
            self._users -= 1
            if self._users or self._http is None:
                return
            if self._watch is not None:
                await end(self._watch)
            with contextlib.suppress(BackendError, LostError):
                if not self.is_lost:
                    await self.call("POST", "/close")
            http, self._http = self._http, None
            await http.close()

    async def call(self, method: str, path: str, body: Any = None, *, data: Any = None) -> Any:
        """One order.

        Raises:
            BackendError: The node is lost, or what was ordered failed there.
            EngineError: Likewise, for a reason of the order.
        """

        async def work() -> Any:
            async with self._session.request(method, path, json=body, data=data) as response:
                return await self._content(response)

        try:
            return await self._unless_lost(work())
        except LostError as error:  # the node is there: only this order did not come through
            raise BackendError(str(error), where=self._address.url, hint=_AGAIN) from error

    async def ask(self, path: str, body: Any, tag: RequestTag) -> dict[str, Any]:
        """The last line of the answer to a request for a reply; `begin` and `wait` are called on the way."""
        return await self._unless_lost(self._ask(path, body, tag))

    async def hand_over(self, folder: Path) -> str:
        """Bring weights to the node, unless it has them; what they are called there.

        Raises:
            BackendError: They do not arrive as they were sent.
        """
        name = f"{folder.name}-{folder.stat().st_mtime_ns}"  # of a folder that is not changed once it is there
        async with self._one_at_a_time:
            if name not in self._weights:
                for path in sorted(path for path in folder.iterdir() if path.is_file()):
                    await self._send(name, path)
            else:
                self._weights.remove(name)
            self._weights.append(name)
            while len(self._weights) > _KEPT:
                await self.call("DELETE", f"/weights/{self._weights.pop(0)}")
        return name

    async def _send(self, name: str, path: Path) -> None:
        for left in reversed(range(_TRIES)):
            digest = hashlib.sha256()
            try:
                found = await self.call("PUT", f"/weights/{name}/{path.name}", data=_pieces(path, digest))
            except BackendError:
                if self.is_lost or not left:
                    raise
                continue
            if found["sha256"] == digest.hexdigest():
                return
        raise BackendError(f"weights were changed on their way to {self.name}", where=str(path), hint=_AGAIN)

    async def _ask(self, path: str, body: Any, tag: RequestTag) -> dict[str, Any]:
        steps = {wire.BEGIN: tag.begin, wire.WAIT: tag.wait}
        async with self._session.post(path, json=body) as response:
            if response.status >= 400:
                await self._content(response)
            async for content in response.content:
                found: dict[str, Any] = json.loads(content)
                if (step := next((steps[name] for name in found if name in steps), None)) is None:
                    return found
                step()
        raise aiohttp.ClientPayloadError("the answer has no end")

    async def _content(self, response: aiohttp.ClientResponse) -> Any:
        if response.status == 401:
            raise BackendError(f"{self.name}: the token is not accepted", where=self._address.url, hint=_AGAIN)
        content = await response.json(content_type=None)
        if response.status >= 400:
            raise wire.to_error(content[wire.ERROR], self.name)
        return content

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            raise LostError(f"{self.name}: not connected")
        return self._http

    async def _unless_lost(self, work: Coroutine[Any, Any, T]) -> T:
        assert self._lost is not None
        task = asyncio.ensure_future(work)
        try:
            either: set[asyncio.Future[Any]] = {task, self._lost}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise self._lost.result()
            return task.result()
        except (aiohttp.ClientError, OSError, ValueError) as error:
            await self._look_after(error)
            raise LostError(f"{self.name}: {str(error) or type(error).__name__}") from error
        finally:
            await end(task)

    async def _look_after(self, error: Exception) -> None:
        """After a failed connection: whether the node is still there."""
        try:
            await self.look()
        except aiohttp.ClientConnectorError:
            self._lose(str(error) or type(error).__name__)
        except (aiohttp.ClientError, OSError):
            pass  # it may only be slow: `_keep_looking` decides
        assert self._lost is not None
        if self._lost.done():
            raise self._lost.result()

    def _lose(self, reason: str) -> None:
        assert self._lost is not None
        if not self._lost.done():
            self._lost.set_result(
                BackendError(f"the engines on {self.name} are lost: {reason}", where=self._address.url, hint=_AGAIN)
            )

    async def look(self) -> None:
        """Ask which engines are ready."""
        async with asyncio.timeout(_ANSWER_S), self._session.get("/state") as response:
            self._ready = (await self._content(response))["ready"]

    async def _keep_looking(self) -> None:
        misses = 0
        while not self.is_lost:
            await asyncio.sleep(_LOOK_S)
            try:
                await self.look()
                misses = 0
            except aiohttp.ClientConnectorError as error:
                self._lose(str(error))
            except (aiohttp.ClientError, OSError) as error:
                misses += 1
                if misses >= _MISSES:
                    self._lose(f"no answer, asked {misses} times ({str(error) or type(error).__name__})")


class NodeEngine(OpenEngine):
    """One engine of a node, by its number there."""

    def __init__(self, node: Node, number: int) -> None:
        super().__init__()
        self._node, self._path, self._number = node, f"/engines/{number}", number
        self._seen = EngineStats()
        self._has_begun = False

    @property
    def is_ready(self) -> bool:
        # A lost node ends the run with the reason for it: nothing goes around it.
        return self._node.is_lost or self._node.is_ready(self._number)

    async def until_ready(self) -> None:
        await self._node.call("POST", f"{self._path}/ready")

    async def start(self) -> None:
        self._has_begun = True
        await self._node.connect()
        await self._node.call("POST", f"{self._path}/start")
        await self._node.look()

    async def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, seed: int, tag: RequestTag
    ) -> Generation:
        body = wire.of_request(list(prompt_ids), sampling, seed, tag)
        found = await self._node.ask(f"{self._path}/generate", body, tag)
        self._count(found[wire.STATS])
        if wire.ERROR in found:
            error = wire.to_error(found[wire.ERROR], self._node.name)
            if isinstance(error, LostError):
                self._node.note_away(self._number)
            raise error
        return wire.to_reply(found[wire.REPLY])

    async def update_weights(self, weights: Weights) -> None:
        name = await self._node.hand_over(weights.folder) if weights.folder else None
        await self._node.call("POST", f"{self._path}/weights", {"version": weights.version, "name": name})

    async def sleep(self) -> None:
        await self._node.call("POST", f"{self._path}/sleep")

    async def wake(self) -> None:
        await self._node.call("POST", f"{self._path}/wake")

    async def aclose(self) -> None:
        if self._has_begun:
            self._has_begun = False
            await self._node.disconnect()

    def _count(self, counts: Sequence[int]) -> None:
        """Add what the engine has done since this was last said."""
        now = EngineStats(*counts)
        self.stats.add(now.since(self._seen))
        self._seen = now


async def _pieces(path: Path, digest: Any) -> AsyncIterator[bytes]:
    def read() -> bytes:
        piece = file.read(wire.BYTES)
        digest.update(piece)
        return piece

    with path.open("rb") as file:
        while piece := await asyncio.to_thread(read):
            yield piece
