"""Whether a model server can stand behind an agent program: it is asked to answer a request of the real one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from codctl.agents.proxy.models import ChatRequest
from codctl.doctor.findings import Finding
from codctl.engines.openai.client import Client, RequestError
from codctl.engines.openai.diagnosis import diagnose
from codctl.engines.openai.settings import EndpointSettings, read_key
from codctl.engines.openai.wire import shown
from codctl.errors import CodctlError

_CALL_TOKENS = 256  # enough for a call of a tool, with some thought before it
_TEMPLATE = "serve a model whose chat template has a place for tools, or play it with --protocol answer"
_PARSER = "vllm serve … --enable-auto-tool-choice --tool-call-parser hermes"
_WRITTEN = ("<tool_call>", '{"name":', "[TOOL_CALLS]", "<function=")  # calls that the server has left in the text


@dataclass(frozen=True)
class _Served:
    """One model, as `/v1/models` names it."""

    name: str
    window: int | None


@dataclass(frozen=True)
class _Reply:
    """What counts in a reply."""

    text: str
    has_calls: bool
    prompt_tokens: int | None


async def examine(
    url: str, model: str | None, key_env: str | None, request: ChatRequest, reply_tokens: int
) -> list[Finding]:
    """Look at a server.

    Args:
        url: Its address, usually up to `/v1`.
        model: What it calls the model; None takes the only one.
        key_env: Variable that holds the key.
        request: A recorded request of the program.
        reply_tokens: That the program asks for at most.

    Raises:
        UsageError: The address cannot be one.
    """
    settings = EndpointSettings(url, model or "any", key_env, attempts=1)
    probe = _Probe(Client(settings, read_key(settings)), settings, request)
    try:
        return [finding async for finding in probe.findings(model, reply_tokens)]
    finally:
        await probe.client.aclose()


@dataclass
class _Probe:
    client: Client
    settings: EndpointSettings
    request: ChatRequest

    async def findings(self, model: str | None, reply_tokens: int) -> AsyncIterator[Finding]:
        try:
            served = _choose(await self._served(), model)
            name = model or (served.name if served else "")
            if not name:
                yield Finding("endpoint", "failed", "it does not say which model it serves", "--model-name NAME")
                return
            plain = await self._ask(name, tools=(), max_tokens=1)
        except RequestError as error:
            found = await diagnose(
                error, self.settings, self.client, has_key=bool(read_key(self.settings)), has_replied=False
            )
            yield Finding("endpoint", "failed", found.message, found.hint)
            return
        except CodctlError as error:
            yield Finding("endpoint", "failed", error.message, error.hint)
            return
        yield Finding("endpoint", "ok", f"{self.settings.url} serves {name}")
        async for finding in self._of_tools(name, plain, served, reply_tokens):
            yield finding
        yield await self._middle(name)

    async def _of_tools(
        self, name: str, plain: _Reply, served: _Served | None, reply_tokens: int
    ) -> AsyncIterator[Finding]:
        try:
            called = await self._ask(name, tools=self.request.tools, max_tokens=_CALL_TOKENS)
        except RequestError as error:
            yield Finding("tools served", "failed", f"a request with tools is refused: {error.reason}", _PARSER)
            yield _window(plain.prompt_tokens, served, reply_tokens)
            return
        yield _rendered(plain, called)
        yield _parsed(called)
        yield _window(called.prompt_tokens, served, reply_tokens)

    async def _middle(self, name: str) -> Finding:
        """A system message after the first one of the user, as Claude Code sends it."""
        messages = [
            {"role": "user", "content": "Say yes."},
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": "Now."},
        ]
        try:
            await self._ask(name, messages=messages, max_tokens=1)
        except RequestError as error:
            proxied = "codctl's proxy moves it to the front; without the proxy, Claude Code cannot use this server"
            return Finding("system message", "ok", f"one in the middle is refused ({shown(error.reason)}); {proxied}")
        return Finding("system message", "ok", "one in the middle of a conversation is accepted")

    async def _served(self) -> list[_Served]:
        """What the server serves; empty where it does not say."""
        try:
            return await self.client.models(_read_models)
        except RequestError as error:
            if error.trouble in ("unreachable", "timeout") or error.status in (401, 403):
                raise
            return []

    async def _ask(self, name: str, *, max_tokens: int, tools: Any = (), messages: Any = None) -> _Reply:
        body = {"model": name, "messages": messages or list(self.request.messages), "max_tokens": max_tokens}
        body |= {"temperature": 0.0, "stream": False, **({"tools": list(tools)} if tools else {})}
        return await self.client.complete(body, _read_reply, seed=0, is_patient=False)


def _choose(served: list[_Served], model: str | None) -> _Served | None:
    return next((one for one in served if model in (None, one.name)), None)


def _rendered(plain: _Reply, called: _Reply) -> Finding:
    """A server whose chat template has no place for tools leaves them out without a word."""
    if plain.prompt_tokens is None or called.prompt_tokens is None:
        return Finding(
            "tools served", "warning", "it does not count tokens, so nobody can tell if the model sees tools"
        )
    more = called.prompt_tokens - plain.prompt_tokens
    if more <= 0:
        return Finding("tools served", "failed", "it leaves the tools out of the prompt and says nothing", _TEMPLATE)
    return Finding("tools served", "ok", f"the tools take {more:,} tokens of the prompt")


def _parsed(called: _Reply) -> Finding:
    if called.has_calls:
        return Finding("tool call", "ok", "the model called a tool, and the server reads the call")
    if any(mark in called.text for mark in _WRITTEN):
        message = f"the model called a tool, but the server leaves the call in the text: {shown(called.text[:80])}"
        return Finding("tool call", "failed", message, _PARSER)
    message = f"the model called no tool within {_CALL_TOKENS} tokens: {shown(called.text[:80]) or 'an empty reply'}"
    return Finding("tool call", "warning", message, "a model without training on tools can use --protocol answer")


def _window(prompt_tokens: int | None, served: _Served | None, reply_tokens: int) -> Finding:
    if prompt_tokens is None:
        return Finding("window", "warning", "it does not count tokens")
    needed = f"the first request takes {prompt_tokens:,} tokens, a reply up to {reply_tokens:,}"
    if served is None or served.window is None:
        return Finding("window", "warning", f"{needed}; the server does not say how many it can hold")
    if prompt_tokens + reply_tokens > served.window:
        message = f"{needed}, and the server holds {served.window:,}"
        return Finding(
            "window", "failed", message, f"vllm serve … --max-model-len {2 * (prompt_tokens + reply_tokens)}"
        )
    return Finding("window", "ok", f"{needed}; the server holds {served.window:,}")


def _read_models(content: bytes) -> list[_Served]:
    """Servers say the window in fields of their own."""
    from codctl.engines.openai.wire import read_models

    names = read_models(content)
    given = {one.get("id"): one for one in json.loads(content).get("data", []) if isinstance(one, dict)}
    windows = ("max_model_len", "context_length", "context_window")
    found = []
    for name in names:
        sizes = [given.get(name, {}).get(key) for key in windows]
        found.append(_Served(name, next((size for size in sizes if isinstance(size, int) and size > 0), None)))
    return found


def _read_reply(content: bytes) -> _Reply:
    from codctl.engines.openai.wire import read_completion

    found = read_completion(content)
    calls = found.choices[0].message.tool_calls
    return _Reply(found.text, bool(calls), found.usage.prompt_tokens if found.usage else None)
