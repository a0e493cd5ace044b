"""A server of one's own, with a small program in vLLM's place: it is waited for, watched and ended."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from codctl.config.schema import Config
from codctl.engines.vllm import served
from codctl.engines.vllm.served import Served
from codctl.engines.vllm.settings import EngineSettings, settings_of
from codctl.errors import BackendError

SERVER = """
import sys
from aiohttp import web

async def health(request):
    return web.Response(text="ok")

async def models(request):
    return web.json_response({"data": [{"id": "m", "root": "r", "max_model_len": 64}]})

app = web.Application()
app.add_routes([web.get("/health", health), web.get("/v1/models", models)])
web.run_app(app, path=sys.argv[1], print=None)
"""


@pytest.fixture
def settings(tiny_folder: Path) -> EngineSettings:
    return settings_of(Config.model_validate({"engine": {"kind": "vllm", "start_s": 60.0}}), tiny_folder, on_gpus=False)


def test_a_server_is_reached_and_ended(
    settings: EngineSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served, "command", lambda _, socket: [sys.executable, "-c", SERVER, str(socket)])
    server = Served(0, settings, (), tmp_path / "log")

    async def run() -> str:
        await server.start()
        assert server.max_tokens == 64
        ended = asyncio.create_task(server.ended())
        await asyncio.sleep(0.1)
        assert not ended.done()
        await server.stop()
        return await asyncio.wait_for(ended, 20)

    assert asyncio.run(run()).startswith("ended with ")


def test_why_a_server_does_not_start_is_said(
    settings: EngineSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import sys; print('ValueError: no such model'); sys.exit(3)"
    monkeypatch.setattr(served, "command", lambda *_: [sys.executable, "-c", code])
    server = Served(0, settings, (), tmp_path / "log")

    async def run() -> None:
        try:
            await server.start()
        finally:
            await server.stop()

    with pytest.raises(BackendError, match="exit code 3 while it started: ValueError: no such model"):
        asyncio.run(run())
