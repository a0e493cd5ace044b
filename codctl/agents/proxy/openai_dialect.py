"""OpenAI chat completions, as agents send them and read them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from codctl.agents.proxy.dialect import RequestError, event, hoisted, objects, plain, positive, texts
from codctl.agents.proxy.models import ChatMessage, ChatReply, ChatRequest

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
_KEPT = ("name", "tool_call_id", "reasoning_content")  # of a message, beside role, content and calls
_SAMPLING = ("temperature", "top_p", "top_k", "seed", "presence_penalty", "frequency_penalty", "logit_bias", "n")
_OTHERS = ("response_format", "reasoning_effort", "parallel_tool_calls")


class OpenAIDialect:
    """See `Dialect`."""

    name = "openai"
    ping = b": the model is writing\n\n"

    def read(self, body: Mapping[str, Any]) -> ChatRequest:
        messages = [_message(one) for one in objects(body.get("messages"), "messages")]
        if not messages:
            raise RequestError("messages: expected at least one")
        return ChatRequest(
            messages=hoisted(messages),
            tools=[_tool(one) for one in objects(body.get("tools") or [], "tools")],
            tool_choice=body.get("tool_choice"),
            max_tokens=positive(body, "max_completion_tokens", "max_tokens"),
            stop=texts(body.get("stop"), "stop"),
            asked={name: body[name] for name in (*_SAMPLING, *_OTHERS) if body.get(name) is not None},
        )

    def whole(self, reply: ChatReply, model: str, number: int) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": reply.text or None}
        if reply.tool_calls:
            message["tool_calls"] = [call.as_message() for call in reply.tool_calls]
        else:
            message["content"] = reply.text
        if reply.reasoning:
            message["reasoning_content"] = reply.reasoning
        choice = {"index": 0, "message": message, "finish_reason": _finish(reply)}
        return {**_head("chat.completion", model, number), "choices": [choice], "usage": _usage(reply)}

    def begin(self, model: str, number: int) -> Iterable[bytes]:
        return (_chunk(model, number, {"role": "assistant", "content": ""}),)

    def events(self, reply: ChatReply, model: str, number: int, body: Mapping[str, Any]) -> Iterator[bytes]:
        if reply.reasoning:
            yield _chunk(model, number, {"reasoning_content": reply.reasoning})
        if reply.text:
            yield _chunk(model, number, {"content": reply.text})
        for index, call in enumerate(reply.tool_calls):
            yield _chunk(model, number, {"tool_calls": [{"index": index, **call.as_message()}]})
        yield _chunk(model, number, {}, _finish(reply))
        options = body.get("stream_options")
        if isinstance(options, dict) and options.get("include_usage"):
            yield event({**_head("chat.completion.chunk", model, number), "choices": [], "usage": _usage(reply)})
        yield b"data: [DONE]\n\n"

    def error(self, status: int, message: str) -> dict[str, Any]:
        kind = "invalid_request_error" if status < 500 else "server_error"
        return {"error": {"message": message, "type": kind, "code": status}}

    def error_event(self, status: int, message: str) -> bytes:
        return event(self.error(status, message))


def _message(given: Mapping[str, Any]) -> ChatMessage:
    role = _ROLES.get(str(given.get("role")))
    if role is None:
        raise RequestError(f"messages: the role {given.get('role')!r} is not known")
    content = given.get("content")
    if not isinstance(content, str | None):
        content = plain([_part(part) for part in objects(content, "messages: content")])
    message: ChatMessage = {"role": role, "content": content}
    message |= {name: given[name] for name in _KEPT if isinstance(given.get(name), str)}
    if given.get("tool_calls"):
        message["tool_calls"] = [_call(one) for one in objects(given["tool_calls"], "messages: tool_calls")]
    return message


def _part(part: Mapping[str, Any]) -> Mapping[str, Any]:
    if part.get("type") != "text":
        return part
    if not isinstance(part.get("text"), str):
        raise RequestError("messages: a part of type text has no text")
    return {"type": "text", "text": part["text"]}


def _call(given: Mapping[str, Any]) -> dict[str, Any]:
    function = given.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise RequestError("messages: tool_calls: a call names no function")
    arguments = function.get("arguments")
    arguments = arguments if isinstance(arguments, str) else "{}"
    return {
        "id": str(given.get("id", "")),
        "type": "function",
        "function": {"name": function["name"], "arguments": arguments},
    }


def _tool(given: Mapping[str, Any]) -> Mapping[str, Any]:
    function = given.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise RequestError("tools: a tool has no function with a name")
    return {"type": "function", "function": function}


def _finish(reply: ChatReply) -> str:
    return "tool_calls" if reply.tool_calls else "stop"


def _usage(reply: ChatReply) -> dict[str, int]:
    prompt, completion = reply.prompt_tokens or 0, reply.completion_tokens or 0
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _head(kind: str, model: str, number: int) -> dict[str, Any]:
    return {"id": f"chatcmpl-{number:06d}", "object": kind, "created": int(time.time()), "model": model}


def _chunk(model: str, number: int, delta: Mapping[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return event({**_head("chat.completion.chunk", model, number), "choices": [choice]})
