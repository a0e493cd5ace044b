"""The engines of one node, for the process that holds the run on another: HTTP, and a token for each request.

Whoever has the token can have engines opened, asked and ended here, and weights written into this run's folder for
them, and nothing else. Engines themselves are not reached from outside.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import re
import shutil
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web

from codctl.cod.engine import EngineError, EngineStats, RequestTag, Weights
from codctl.cod.requests import end
from codctl.config.schema import Config
from codctl.engines import weights_folder
from codctl.engines.nodes import wire
from codctl.engines.provider import OpenEngine, Opening, provider_of
from codctl.engines.replicas import parts_of
from codctl.errors import BackendError, CodctlError
from codctl.files import lock
from codctl.log import log

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}")
_END, _LOOK_S = "end", 1.0


class NodeServer:
    """See the module.

    Args:
        config: Recipe.
        weights: Folder for weights; made and removed here.
        run: Folder of the run.
        token: That every request must bring.
    """

    def __init__(self, config: Config, weights: Path, run: Path, token: str) -> None:
        self._config, self._weights, self._run, self._token = config, weights, run, token
        self._engines: Sequence[OpenEngine] = ()

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._guarded], client_max_size=wire.LONGEST)
        app.add_routes(
            [
                web.get("/state", self._state),
                web.post("/open", self._open),
                web.post("/close", self._close),
                web.post("/engines/{number}/generate", self._generate),
                web.post("/engines/{number}/score", self._score),
                web.post("/engines/{number}/{order}", self._order),
                web.put("/weights/{name}/{file}", self._store),
                web.delete("/weights/{name}", self._forget),
            ]
        )
        return app

    async def aclose(self) -> None:
        engines, self._engines = self._engines, ()
        await asyncio.gather(*(engine.aclose() for engine in engines), return_exceptions=True)
        shutil.rmtree(self._weights, ignore_errors=True)

    @web.middleware
    async def _guarded(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        given = request.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
            return web.Response(status=401)
        try:
            return await handler(request)
        except (CodctlError, EngineError, OSError) as error:
            return web.json_response({wire.ERROR: wire.of_error(error)}, status=500)

    async def _state(self, request: web.Request) -> web.Response:
        return web.json_response({"ready": [engine.is_ready for engine in self._engines]})

    async def _open(self, request: web.Request) -> web.Response:
        """Open the node's engines; earlier ones are ended. Each is started by itself."""
        await self.aclose()
        weights_folder.make(self._weights, self._run)
        lock.share(self._weights / weights_folder.OWNER)
        asked = await request.json()
        gpus, logfile = tuple(tuple(engine) for engine in asked["gpus"]), Path(asked["log"])
        if not logfile.is_relative_to(self._run):
            raise BackendError(f"{logfile} is not below the run's folder")
        opening = Opening(self._config, Path(asked["folder"]), Path(asked["base"]), gpus, logfile, top=asked["top"])
        self._engines = parts_of(provider_of(self._config).open(opening))
        for engine in self._engines:
            engine.stats = EngineStats()  # each counts for itself: its client adds up
        return web.json_response({})

    async def _close(self, request: web.Request) -> web.Response:
        await self.aclose()
        return web.json_response({})

    def _engine(self, request: web.Request) -> OpenEngine:
        number = request.match_info["number"]
        if not number.isdecimal() or int(number) >= len(self._engines):
            raise BackendError(f"no engine {number} is open")
        return self._engines[int(number)]

    async def _order(self, request: web.Request) -> web.Response:
        engine, order = self._engine(request), request.match_info["order"]
        if order == "start":
            await engine.start()
        elif order == "ready":
            await engine.until_ready()
        elif order == "weights":
            asked = await request.json()
            folder = self._weights / _name(asked["name"]) if asked["name"] else None
            await engine.update_weights(Weights(asked["version"], folder))
        elif order in ("sleep", "wake"):
            await getattr(engine, order)()
        else:
            raise BackendError(f"no order {order}")
        return web.json_response({})

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        """What happens to the request, a line each, the last one with its outcome. It ends when its client leaves."""
        engine, asked = self._engine(request), await request.json()
        events: asyncio.Queue[str] = asyncio.Queue()
        tag = RequestTag(
            **asked["tag"], begin=lambda: events.put_nowait(wire.BEGIN), wait=lambda: events.put_nowait(wire.WAIT)
        )
        response = web.StreamResponse()
        await response.prepare(request)
        work = asyncio.create_task(
            engine.generate(asked["prompt_ids"], wire.to_sampling(asked["sampling"]), seed=int(asked["seed"]), tag=tag)
        )
        work.add_done_callback(lambda _: events.put_nowait(_END))
        try:
            while (event := await events.get()) != _END:
                await response.write(wire.line({event: True}))
            await response.write(wire.line({**_outcome(work), wire.STATS: wire.of_stats(engine.stats)}))
        finally:
            await end(work)
        return response

    async def _score(self, request: web.Request) -> web.Response:
        """Scores of one row, or why there are none."""
        engine, asked = self._engine(request), await request.json()
        try:
            [scores] = await engine.score([wire.to_row(asked["row"])], asked["top"])
            outcome: dict[str, Any] = {wire.REPLY: wire.of_scores(scores)}
        except (CodctlError, EngineError) as error:
            outcome = {wire.ERROR: wire.of_error(error)}
        return web.json_response({**outcome, wire.STATS: wire.of_stats(engine.stats)})

    async def _store(self, request: web.Request) -> web.Response:
        """Write one file of weights; the client compares the digest of what came."""
        folder = self._weights / _name(request.match_info["name"])
        folder.mkdir(mode=0o700, exist_ok=True)
        path, digest = folder / _name(request.match_info["file"]), hashlib.sha256()
        with path.open("wb") as file:
            async for piece in request.content.iter_any():
                digest.update(piece)
                file.write(piece)
        return web.json_response({"sha256": digest.hexdigest()})

    async def _forget(self, request: web.Request) -> web.Response:
        shutil.rmtree(self._weights / _name(request.match_info["name"]), ignore_errors=True)
        return web.json_response({})


def _name(text: str) -> str:
    """A name that leads nowhere else."""
    if not _NAME.fullmatch(text):
        raise BackendError(f"not a name: {text!r}")
    return text


def _outcome(work: asyncio.Task[Any]) -> dict[str, Any]:
    error = work.exception()
    return {wire.ERROR: wire.of_error(error)} if error else {wire.REPLY: wire.of_reply(work.result())}


async def serve(server: NodeServer, address: str, announce: Callable[[int], None], is_over: Callable[[], bool]) -> None:
    """Serve at an address of this machine, on a free port.

    Args:
        server: Answers.
        address: Of the interface through which the other nodes reach this one.
        announce: Called with the port.
        is_over: Whether to end; asked in a thread.
    """
    runner = web.AppRunner(server.app(), access_log=None, handler_cancellation=True, read_bufsize=wire.BYTES)
    await runner.setup()
    try:
        site = web.TCPSite(runner, address, 0)
        await site.start()
        port = runner.addresses[0][1]
        log.info("engines of this node are reached at %s port %d", address, port)
        announce(port)
        while not await asyncio.to_thread(is_over):
            await asyncio.sleep(_LOOK_S)
    finally:
        with contextlib.suppress(Exception):
            await server.aclose()
        await runner.cleanup()
