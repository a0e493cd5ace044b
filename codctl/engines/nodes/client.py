"""Engines on another node, asked over HTTP: `NodeEngine` is one of them, `Node` what they share.

When the process there ends, its supervisor starts another one: open requests are lost, and engines, weights and sleep
are brought back to where they were, while other nodes play on.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from codctl.cod.engine import EngineStats, Generation, LostError, RequestTag, Sampling, Scores, Weights
from codctl.cod.requests import end, gather_or_cancel
from codctl.cod.trajectory import TokenRecord
from codctl.engines.nodes import wire
from codctl.engines.provider import OpenEngine, Opening, provider_of
from codctl.engines.replicas import Replicas, parts_of
from codctl.errors import BackendError, CodctlError
from codctl.log import log

T = TypeVar("T")

_LOOK_S, _ANSWER_S = 1.0, 10.0
_BACK_S = 120.0  # for a process to be started again; then its engines have `engine.start_s`
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
        successor: Finds the address of the process that has been started in its place; None while there is none.
            BackendError when there will be none.
    """

    name: str
    url: str
    token: str
    successor: Callable[[], Address | None] = field(default=lambda: None, compare=False)


class AwayError(LostError):
    """The whole node is away: what was ordered is made up for when it is back."""


def open_on_nodes(opening: Opening, addresses: Sequence[Address]) -> OpenEngine:
    """The engines of a recipe on this node and on others, where there are others, as one."""
    here = provider_of(opening.config).open(opening)
    if not addresses:
        return here
    members = list(parts_of(here))
    each = len(members)
    for address in addresses:
        node = Node(address, opening)
        node.engines = [NodeEngine(node, number) for number in range(each)]
        members += node.engines
    return Replicas(members)


class Node:
    """The connection to a node, and what brings it back. It is gone for good when it does not come back.

    Args:
        address: Of the node.
        opening: What its engines are opened with, beside its own log.
    """

    def __init__(self, address: Address, opening: Opening) -> None:
        self.name, self._address, self._opening = address.name, address, opening
        self.engines: Sequence[NodeEngine] = ()
        self._http: aiohttp.ClientSession | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._lost: asyncio.Future[str] | None = None  # of the connection that there is
        self._gone: BackendError | None = None
        self._is_back = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._weights: list[str] = []
        self._ready: list[bool] = []
        self._users = 0

    @property
    def is_gone(self) -> bool:
        return self._gone is not None

    @property
    def is_away(self) -> bool:
        return not self._is_back.is_set()

    def is_ready(self, number: int) -> bool:
        """Whether an engine could be asked when it was last heard of."""
        return self._is_back.is_set() and number < len(self._ready) and self._ready[number]

    def note_away(self, number: int) -> None:
        """An engine has just lost a request."""
        self._ready[number] = False

    async def until_back(self) -> None:
        """Wait while it is away.

        Raises:
            BackendError: It is gone.
        """
        await self._is_back.wait()
        if self._gone is not None:
            raise self._gone

    async def connect(self) -> None:
        """Open the node's engines, once for all who use them.

        Raises:
            BackendError: The node does not answer, or cannot open them.
        """
        async with self._one_at_a_time:
            self._users += 1
            if self._http is not None:
                return
            try:
                await self._open()
            except LostError as error:
                raise BackendError(str(error), where=self._address.url, hint=_AGAIN) from error
            self._is_back.set()
            self._keeper = asyncio.create_task(self._keep(), name=f"keeper of {self.name}")

    async def disconnect(self) -> None:
        """The last one who uses it ends the node's engines."""
        async with self._one_at_a_time:
            self._users -= 1
            if self._users or self._http is None:
                return
            if self._keeper is not None:
                await end(self._keeper)
            with contextlib.suppress(BackendError, LostError):
                if self._is_back.is_set() and not self.is_gone:
                    await self.call("POST", "/close")
            http, self._http = self._http, None
            await http.close()

    async def call(self, method: str, path: str, body: Any = None, *, data: Any = None) -> Any:
        """One order.

        Raises:
            AwayError: The node is away.
            BackendError: What was ordered failed there.
            EngineError: Likewise, for a reason of the order.
        """

        async def work() -> Any:
            async with self._session.request(method, path, json=body, data=data) as response:
                return await self._content(response)

        try:
            return await self._unless_lost(work())
        except AwayError:
            raise
        except LostError as error:  # the node is there: only this order did not come through
            raise BackendError(str(error), where=self._address.url, hint=_AGAIN) from error

    async def ask(self, path: str, body: Any, steps: Mapping[str, Callable[[], None]]) -> dict[str, Any]:
        """The last line of the answer to a request; `steps` are called when a line before it has their name."""
        return await self._unless_lost(self._ask(path, body, steps))

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
                if not left:
                    raise
                continue
            if found["sha256"] == digest.hexdigest():
                return
        raise BackendError(f"weights were changed on their way to {self.name}", where=str(path), hint=_AGAIN)

    async def _ask(self, path: str, body: Any, steps: Mapping[str, Callable[[], None]]) -> dict[str, Any]:
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
        task, lost = asyncio.ensure_future(work), self._lost
        try:
            either: set[asyncio.Future[Any]] = {task, lost}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise AwayError(f"{self.name} is away: {lost.result()}")
            return task.result()
        except (aiohttp.ClientError, OSError, ValueError) as error:
            await self._look_after(error)
            raise (AwayError if lost.done() else LostError)(f"{self.name}: {_said(error)}") from error
        finally:
            await end(task)

    async def _look_after(self, error: Exception) -> None:
        """After a failed connection: whether the node is still there."""
        try:
            await self.look()
        except aiohttp.ClientConnectorError:
            self._lose(_said(error))
        except (aiohttp.ClientError, OSError, LostError):
            pass  # it may only be slow: `_keep` decides

    def _lose(self, reason: str) -> None:
        """Let what is open fail and what comes wait."""
        self._is_back.clear()
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(reason)

    async def look(self) -> None:
        """Ask which engines are ready."""
        async with asyncio.timeout(_ANSWER_S), self._session.get("/state") as response:
            self._ready = (await self._content(response))["ready"]

    async def _keep(self) -> None:
        while self._gone is None:
            reason = await self._until_lost()
            log.warning("the engines on %s are away: %s", self.name, reason)
            try:
                await self._come_back(reason)
                log.info("the engines on %s are back", self.name)
            except BackendError as error:
                self._gone = error
            self._is_back.set()

    async def _until_lost(self) -> str:
        assert self._lost is not None
        misses = 0
        while not self._lost.done():
            await asyncio.wait([self._lost], timeout=_LOOK_S)
            if self._lost.done():
                break
            try:
                await self.look()
                misses = 0
            except aiohttp.ClientConnectorError as error:
                self._lose(_said(error))
            except (aiohttp.ClientError, OSError) as error:
                misses += 1
                if misses >= _MISSES:
                    self._lose(f"no answer, asked {misses} times ({_said(error)})")
        return self._lost.result()

    async def _come_back(self, reason: str) -> None:
        """Find the process that takes the place of the lost one, and bring it to where that one was.

        Raises:
            BackendError: There is none in time, or its engines cannot be started.
        """
        loop, settings, tries = asyncio.get_running_loop(), self._opening.config.engine, 0
        deadline = loop.time() + _BACK_S
        while tries <= settings.restarts and (tries or loop.time() < deadline):
            found = await asyncio.to_thread(self._address.successor)
            if found is None and not tries:
                await asyncio.sleep(_LOOK_S)
                continue
            self._address, tries = found or self._address, tries + 1
            try:
                async with asyncio.timeout(settings.start_s):
                    await self._begin_again()
                return
            except (aiohttp.ClientError, OSError, LostError, CodctlError) as error:
                reason = _said(error)
                await asyncio.sleep(_LOOK_S * tries)  # what hinders it may pass
        raise BackendError(f"the engines on {self.name} are lost: {reason}", where=self._address.url, hint=_AGAIN)

    async def _begin_again(self) -> None:
        await self._open()
        await gather_or_cancel(engine.begin_again() for engine in self.engines if engine.has_begun)
        await self.look()
        while behind := [engine for engine in self.engines if engine.is_behind]:  # last: nothing comes in between
            await gather_or_cancel(engine.catch_up() for engine in behind)

    async def _open(self) -> None:
        """Connect, and have the node's engines opened; none is started."""
        if self._http is not None:
            await self._http.close()
        self._lost, self._weights = asyncio.get_running_loop().create_future(), []
        self._http = aiohttp.ClientSession(
            self._address.url,
            connector=aiohttp.TCPConnector(limit=0),
            headers={"Authorization": f"Bearer {self._address.token}"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_ANSWER_S),
            read_bufsize=wire.LONGEST,
        )
        opening = self._opening
        logfile = opening.log.with_stem(f"{opening.log.stem}-{self.name}")
        asked = {
            "folder": str(opening.folder.absolute()),
            "base": str(opening.base.absolute()),
            "gpus": opening.gpus,
            "log": str(logfile.absolute()),
            "top": opening.top,
        }
        await self.call("POST", "/open", asked)
        await self.look()


class NodeEngine(OpenEngine):
    """One engine of a node, by its number there."""

    def __init__(self, node: Node, number: int) -> None:
        super().__init__()
        self._node, self._path, self._number = node, f"/engines/{number}", number
        self._seen = EngineStats()
        self._wanted: Weights | None = None
        self._has: Weights | None = None
        self._is_asleep = False
        self.has_begun = False

    @property
    def is_ready(self) -> bool:
        # A node that is gone ends the run with the reason for it: nothing goes around it.
        return self._node.is_gone or self._node.is_ready(self._number)

    @property
    def is_behind(self) -> bool:
        """Whether it lacks the weights that it shall have."""
        return self.has_begun and self._has is not self._wanted

    async def until_ready(self) -> None:
        while True:
            await self._node.until_back()
            with contextlib.suppress(AwayError):
                await self._node.call("POST", f"{self._path}/ready")
                return

    async def start(self) -> None:
        self.has_begun = True
        await self._node.connect()
        try:
            await self._node.call("POST", f"{self._path}/start")
        except AwayError as error:
            raise BackendError(str(error), hint=_AGAIN) from error
        await self._node.look()

    async def begin_again(self) -> None:
        """Start it in a process that knows nothing of it."""
        self._seen, self._has = EngineStats(), None
        self.stats.restarts += 1
        await self._node.call("POST", f"{self._path}/start")
        await self.catch_up()
        if self._is_asleep:
            await self._node.call("POST", f"{self._path}/sleep")

    async def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, seed: int, tag: RequestTag
    ) -> Generation:
        body = wire.of_request(list(prompt_ids), sampling, seed, tag)
        found = await self._ask("generate", body, {wire.BEGIN: tag.begin, wire.WAIT: tag.wait})
        return wire.to_reply(found)

    async def score(self, rows: Sequence[TokenRecord], top: int = 0) -> list[Scores]:
        """See `OpenEngine.score`; a row is one request."""
        asked = [self._ask("score", {"row": wire.of_row(row), "top": top}, {}) for row in rows]
        return [wire.to_scores(found) for found in await gather_or_cancel(asked)]

    async def _ask(self, what: str, body: Any, steps: Mapping[str, Callable[[], None]]) -> Any:
        """What the engine answers; its errors are raised here."""
        await self._node.until_back()
        found = await self._node.ask(f"{self._path}/{what}", body, steps)
        self._count(found[wire.STATS])
        if wire.ERROR in found:
            error = wire.to_error(found[wire.ERROR], self._node.name)
            if isinstance(error, LostError):
                self._node.note_away(self._number)
            raise error
        return found[wire.REPLY]

    async def update_weights(self, weights: Weights) -> None:
        """See `Engine`; while the node is away it takes them when it is back."""
        self._wanted = weights
        if self._node.is_gone:
            await self._node.until_back()
        if self._node.is_away:
            return
        with contextlib.suppress(AwayError):
            await self.catch_up()

    async def catch_up(self) -> None:
        """Load what is wanted, which may change meanwhile."""
        while (wanted := self._wanted) is not None and wanted is not self._has:
            name = await self._node.hand_over(wanted.folder) if wanted.folder else None
            await self._node.call("POST", f"{self._path}/weights", {"version": wanted.version, "name": name})
            self._has = wanted

    async def sleep(self) -> None:
        await self._rest(is_asleep=True)

    async def wake(self) -> None:
        await self._rest(is_asleep=False)

    async def _rest(self, *, is_asleep: bool) -> None:
        await self._node.until_back()
        self._is_asleep = is_asleep
        with contextlib.suppress(AwayError):
            await self._node.call("POST", f"{self._path}/{'sleep' if is_asleep else 'wake'}")

    async def aclose(self) -> None:
        if self.has_begun:
            self.has_begun = False
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


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
