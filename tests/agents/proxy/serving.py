"""A model proxy that is open while its tests run, and models that say what they are told to say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx
import openai

from codctl.agents.proxy.models import ChatModel, ChatReply, ChatRequest
from codctl.agents.proxy.server import ModelProxy
from codctl.agents.proxy.session import Session
from codctl.cod.engine import EngineError

KEY = "sk-of-somebody-1234567890"


@dataclass
class Scripted:
    """Says one reply after another; the last one again and again."""

    replies: Sequence[ChatReply | EngineError]
    wait_s: float = 0.0
    protocol: Literal["answer", "tools"] = "tools"
    asked: list[ChatRequest] = field(default_factory=list)

    async def chat(self, request: ChatRequest) -> ChatReply:
        self.asked.append(request)
        reply = self.replies[min(len(self.asked), len(self.replies)) - 1]
        await asyncio.sleep(self.wait_s)
        if isinstance(reply, EngineError):
            raise reply
        return reply


@dataclass
class Place:
    """A session and a client of it."""

    session: Session
    client: openai.AsyncOpenAI
    http: httpx.AsyncClient

    async def create(self, **more: Any) -> Any:
        messages = [{"role": "user", "content": "Hello."}]
        return await self.client.chat.completions.create(**{"model": "m", "messages": messages, **more})


@dataclass
class Serving:
    """A proxy and the event loop that it runs in."""

    runner: asyncio.Runner
    proxy: ModelProxy

    def run(self, test: Coroutine[Any, Any, None]) -> None:
        async def in_time() -> None:
            async with asyncio.timeout(60):
                await test

        self.runner.run(in_time())

    @asynccontextmanager
    async def session(self, model: ChatModel, folder: Path | None = None, **limits: Any) -> AsyncIterator[Place]:
        session = self.proxy.session(model, folder, **limits)
        async with httpx.AsyncClient(trust_env=False, verify=False) as http:
            yield Place(session, openai.AsyncOpenAI(base_url=f"{session.url}/v1", api_key=KEY, http_client=http), http)
        session.close()
