"""Servers by URL that cannot be used: found out before anything is played. Played by a server without a model."""

from __future__ import annotations

import asyncio
import dataclasses
import math
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from codctl.engines.vllm.remote import Remote
from codctl.engines.vllm.settings import EngineSettings
from codctl.errors import BackendError

LOGITS = {"token_id:5": 2.0, "token_id:6": 0.0, "token_id:7": -1.0}
SETTINGS = EngineSettings(
    model=Path("/base"),
    adapter=None,
    is_lora=False,
    options={"dtype": "float32", "max_lora_rank": 8},
    environment={},
    sleeps=False,
    start_s=5.0,
    deadline_s=5.0,
    restarts=0,
)


class Server:
    """What vLLM answers, with one thing changed."""

    def __init__(
        self, *, root: str = "/base", ids: bool = True, scaled: bool = True, routes: tuple[str, ...] = ("rpc", "lora")
    ) -> None:
        self.root, self.ids, self.scaled, self.routes = root, ids, scaled, routes
        self.reloaded: list[Any] = []

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/health", self.health)
        app.router.add_get("/v1/models", self.models)
        app.router.add_post("/v1/completions", self.complete)
        if "rpc" in self.routes:
            app.router.add_post("/collective_rpc", self.rpc)
            app.router.add_post("/reset_prefix_cache", self.reset)
        if "lora" in self.routes:
            app.router.add_post("/v1/load_lora_adapter", self.refuse)
        return app

    async def health(self, request: web.Request) -> web.Response:
        return web.Response()

    async def models(self, request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "m", "root": self.root, "max_model_len": 128}]})

    async def complete(self, request: web.Request) -> web.Response:
        body = await request.json()
        temperature = body["temperature"] if self.scaled else 1.0
        total = math.log(sum(math.exp(x / temperature) for x in LOGITS.values()))
        top = {token: x / temperature - total for token, x in LOGITS.items()}
        choice = {"finish_reason": "length", "logprobs": {"token_logprobs": [-0.1], "top_logprobs": [top]}}
        return web.json_response(
            {"choices": [choice | ({"token_ids": [5]} if self.ids else {})], "usage": {"prompt_tokens": 3}}
        )

    async def rpc(self, request: web.Request) -> web.Response:
        body = await request.json()
        if "method" not in body:
            return await self.refuse(request)
        self.reloaded.append(body)
        return web.Response()

    async def reset(self, request: web.Request) -> web.Response:
        return web.json_response({"success": True})

    async def refuse(self, request: web.Request) -> web.Response:
        return web.json_response({"detail": "a field is missing"}, status=400)


def meet(server: Server, *, is_lora: bool = False) -> None:
    """Start a client at a server."""

    async def scenario(url: str) -> None:
        remote = Remote(f"{url}/v1", dataclasses.replace(SETTINGS, is_lora=is_lora))
        try:
            await remote.start()
            assert remote.max_tokens == 128
        finally:
            await remote.stop()

    asyncio.run(serving(server, scenario))


async def serving(server: Server, scenario: Callable[[str], Awaitable[None]]) -> None:
    runner = web.AppRunner(server.app())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        await scenario(f"http://127.0.0.1:{runner.addresses[0][1]}")
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("server", "is_lora", "message"),
    [
        (Server(ids=False), False, "a reply without token ids"),
        (Server(scaled=False), False, "log-probs are not those of the distribution that it samples from"),
        (Server(routes=("lora",)), False, "it cannot load new weights at run time"),
        (Server(routes=("rpc",)), True, "it cannot load adapters at run time"),
        (Server(root="other/model", routes=("lora",)), True, "it serves other/model, not /base"),
    ],
)
def test_a_server_that_cannot_do_it_is_refused(server: Server, is_lora: bool, message: str) -> None:
    with pytest.raises(BackendError, match=message) as caught:
        meet(server, is_lora=is_lora)
    assert caught.value.where == "engine.servers"
    assert "vllm serve /base --logprobs-mode processed_logprobs" in caught.value.hint


def test_nobody_there_is_said_with_how_to_start_one() -> None:
    async def scenario() -> None:
        remote = Remote("http://127.0.0.1:9", SETTINGS)
        with pytest.raises(BackendError, match=r"http://127.0.0.1:9: .*onnect") as caught:
            await remote.start()
        await remote.stop()
        assert caught.value.hint.startswith("VLLM_SERVER_DEV_MODE=1 vllm serve /base")

    asyncio.run(scenario())


def test_a_server_of_another_model_is_given_the_one_to_train() -> None:
    server = Server(root="other/model")
    meet(server)
    assert server.reloaded == [{"method": "reload_weights", "kwargs": {"weights_path": "/base"}}]


def test_a_server_that_serves_the_model_is_left_as_it_is() -> None:
    server = Server()
    meet(server)
    meet(server, is_lora=True)
    assert server.reloaded == []
