"""One session of an agent program at the proxy: its model, its limits, and a record of all that was exchanged."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

from codctl.agents.proxy.dialect import as_bytes
from codctl.agents.proxy.models import ChatMessage, ChatModel, ChatReply, ChatRequest
from codctl.cod.engine import EngineError
from codctl.log import log
from codctl.outcomes import ReplyFault
from codctl.results.agent_session import EXCHANGES

CAPPED = "The limit of model calls for this session is reached. Stop here."


@dataclass(frozen=True)
class Exchange:
    """One request and what was answered.

    Attributes:
        number: In its session, from 1.
        dialect: `openai` or `anthropic`.
        model: As the agent calls it.
        streamed: Whether the agent wanted a stream.
        request: As the model was asked; the sampling is the model's own.
        reply: None where there was none.
        error: Why there was none.
        capped: Whether the proxy answered itself, since the session's calls were used up.
        seconds: That the reply took.
        at: When it was asked for, in UTC.
        protocol: What the model read; see `ChatModel`.
        agent: Name of the program that asked; empty where it is not known, as the next.
        agent_version: Its version.
    """

    number: int
    dialect: str
    model: str
    streamed: bool
    request: ChatRequest
    reply: ChatReply | None
    error: str
    capped: bool
    seconds: float
    at: str
    protocol: Literal["answer", "tools"] = "tools"
    agent: str = ""
    agent_version: str = ""

    def as_json(self) -> dict[str, Any]:
        """As a line of exchanges.jsonl. Headers, and with them keys, are in none."""
        return {"schema": 1, **vars(self), "request": vars(self.request), "reply": self.reply and self.reply.as_json()}


def acting_request(exchanges: Iterable[Exchange]) -> ChatRequest | None:
    """The first request that could act on what it holds: programs also ask for titles of their sessions."""
    requests = [one.request for one in exchanges]
    return next((request for request in requests if request.tools), requests[0] if requests else None)


class Session:
    """See the module. Made by `ModelProxy.session`.

    Args:
        model: That answers.
        folder: Where exchanges.jsonl is written; None for nowhere.
        proxy_url: Of the proxy.
        forget: Called with the id when the session is closed.
        max_calls: After so many calls, the proxy answers a final text itself; None for no limit.
        max_tokens: Most tokens of one reply, whatever the agent asks for; None for no limit of ours.
        name: What `/v1/models` calls the model.
        context_window: What `/v1/models` says of it; None for nothing.
        agent: Name and version of the program that asks, for the record.

    Attributes:
        id: Part of the address; cannot be guessed.
        url: Under which the agent finds its model, without `/v1`.
        exchanges: All so far; those that are written to a file are kept without their tokens.
        calls: Requests for a reply so far, with those beyond the limit.
        fault: Why the model last gave no reply, for no reason of its own; None where it always did.
    """

    def __init__(
        self,
        model: ChatModel,
        folder: Path | None,
        proxy_url: str,
        forget: Callable[[str], None],
        *,
        max_calls: int | None = None,
        max_tokens: int | None = None,
        name: str = "model",
        context_window: int | None = None,
        agent: tuple[str, str] = ("", ""),
    ) -> None:
        self.model, self.max_calls, self.max_tokens = model, max_calls, max_tokens
        self.name, self.context_window = name, context_window
        self.id = secrets.token_hex(16)
        self.url = f"{proxy_url}/s/{self.id}"
        self.exchanges: list[Exchange] = []
        self.calls = 0
        self.fault: ReplyFault | None = None
        self._agent = agent
        self._file = folder / EXCHANGES if folder else None
        self._forget = forget
        self._asked: dict[asyncio.Task[ChatReply], ChatRequest] = {}

    def ask(self, request: ChatRequest, *, dialect: str, model: str, streamed: bool) -> asyncio.Task[ChatReply]:
        """Begin to answer a request. The task fails with EngineError where the model gives no reply.

        A request that comes again while it is being answered, as after a timeout, waits for the same reply.
        """
        self.calls += 1
        if self.max_tokens is not None:
            request = replace(request, max_tokens=min(request.max_tokens or self.max_tokens, self.max_tokens))
        for task, asked in self._asked.items():
            if asked == request:
                return task
        request = replace(request, messages=self._shared(request.messages))
        agent, version = self._agent
        begun = Exchange(
            number=self.calls,
            dialect=dialect,
            model=model,
            streamed=streamed,
            request=request,
            reply=None,
            error="",
            capped=False,
            seconds=0.0,
            at=_now(),
            protocol=self.model.protocol,
            agent=agent,
            agent_version=version,
        )
        task = asyncio.create_task(self._answer(begun))
        self._asked[task] = request
        task.add_done_callback(self._asked.pop)
        return task

    def close(self) -> None:
        """Answer nothing more, and end what is being answered."""
        self._forget(self.id)
        for task in self._asked:
            task.cancel()

    def _shared(self, messages: Sequence[ChatMessage]) -> Sequence[ChatMessage]:
        """The same messages; those of the last request are not kept twice, since each one repeats all before it."""
        known = self.exchanges[-1].request.messages if self.exchanges else ()
        return [old if old == new else new for old, new in zip_longest(known, messages)][: len(messages)]

    async def _answer(self, begun: Exchange) -> ChatReply:
        if self.max_calls is not None and begun.number > self.max_calls:
            self._record(replace(begun, reply=ChatReply(CAPPED), capped=True))
            return ChatReply(CAPPED)
        since_s = time.monotonic()
        reply: ChatReply | None = None
        problem = ""
        try:
            reply = await self.model.chat(begun.request)
        except EngineError as error:
            self.fault, problem = error.fault, str(error)
            raise
        except asyncio.CancelledError:
            problem = "the session was closed before the reply"
            raise
        except Exception as error:  # a mistake of ours is as little the model's fault
            problem = f"{type(error).__name__}: {error}"
            self.fault = ReplyFault("lost", problem)
            raise EngineError(problem) from error
        finally:
            self._record(replace(begun, reply=reply, error=problem, seconds=round(time.monotonic() - since_s, 3)))
        return reply

    def _record(self, exchange: Exchange) -> None:
        if not self._file:
            self.exchanges.append(exchange)
            return
        reply = exchange.reply and replace(exchange.reply, tokens=None)
        self.exchanges.append(replace(exchange, reply=reply))
        line = as_bytes(exchange.as_json()) + b"\n"
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("ab") as file:
                file.write(line)
        except OSError as error:
            log.warning("%s: the exchange could not be written: %s", self._file, error.strerror or error)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
