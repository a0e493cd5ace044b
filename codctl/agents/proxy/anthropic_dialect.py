"""Anthropic messages, as Claude Code sends them and reads them, in the form of OpenAI chats."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from codctl.agents.proxy.dialect import RequestError, event, hoisted, objects, plain, positive, texts
from codctl.agents.proxy.models import ChatMessage, ChatReply, ChatRequest, ToolCall, text_of

_ROLES = ("user", "assistant", "system")
_SAMPLING = ("temperature", "top_p", "top_k", "thinking", "output_config")
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_ERRORS = {400: "invalid_request_error", 404: "not_found_error", 410: "not_found_error", 413: "request_too_large"}


class AnthropicDialect:
    """See `Dialect`."""

    name = "anthropic"
    ping = event({"type": "ping"}, "ping")

    def read(self, body: Mapping[str, Any]) -> ChatRequest:
        messages = [one for given in objects(body.get("messages"), "messages") for one in _messages(given)]
        if not messages:
            raise RequestError("messages: expected at least one")
        system = {"role": "system", "content": plain(_content(body.get("system"), "system"))}
        return ChatRequest(
            messages=hoisted([system, *messages]),
            tools=[_tool(one) for one in objects(body.get("tools") or [], "tools") if "input_schema" in one],
            tool_choice=_choice(body.get("tool_choice")),
            max_tokens=positive(body, "max_tokens"),
            stop=texts(body.get("stop_sequences"), "stop_sequences"),
            asked={name: body[name] for name in _SAMPLING if body.get(name) is not None},
        )

    def whole(self, reply: ChatReply, model: str, number: int) -> dict[str, Any]:
        blocks: list[dict[str, Any]] = [{"type": "text", "text": reply.text}] if _has_text(reply) else []
        blocks += [{**_start(call), "input": call.given} for call in reply.tool_calls]
        return {**_head(model, number), "content": blocks, "stop_reason": _stop(reply), "usage": _usage(reply)}

    def begin(self, model: str, number: int) -> Iterable[bytes]:
        usage = {"input_tokens": 0, "output_tokens": 0}
        yield _event("message_start", message={**_head(model, number), "content": [], "usage": usage})

    def events(self, reply: ChatReply, model: str, number: int, body: Mapping[str, Any]) -> Iterator[bytes]:
        text = ({"type": "text", "text": ""}, {"type": "text_delta", "text": reply.text})
        blocks: list[tuple[dict[str, Any], dict[str, str]]] = [text] if _has_text(reply) else []
        blocks += [
            (_start(call), {"type": "input_json_delta", "partial_json": json.dumps(call.given)})
            for call in reply.tool_calls
        ]
        for index, (start, delta) in enumerate(blocks):
            yield _event("content_block_start", index=index, content_block=start)
            yield _event("content_block_delta", index=index, delta=delta)
            yield _event("content_block_stop", index=index)
        end = {"stop_reason": _stop(reply), "stop_sequence": None}
        yield _event("message_delta", delta=end, usage=_usage(reply))
        yield _event("message_stop")

    def error(self, status: int, message: str) -> dict[str, Any]:
        return {"type": "error", "error": {"type": _ERRORS.get(status, "api_error"), "message": message}}

    def error_event(self, status: int, message: str) -> bytes:
        return event(self.error(status, message), "error")


def _messages(given: Mapping[str, Any]) -> Iterator[ChatMessage]:
    """One message as those that OpenAI's format has for it: results of tools stand before the user's text."""
    role = given.get("role")
    if role not in _ROLES:
        raise RequestError(f"messages: the role {role!r} is not known")
    blocks = _content(given.get("content"), "messages: content")
    if role == "assistant":
        yield _assistant(blocks)
        return
    for block in blocks:
        if block["type"] == "tool_result":
            content = text_of(_content(block.get("content"), "messages: tool_result"))
            yield {"role": "tool", "tool_call_id": str(block.get("tool_use_id", "")), "content": content}
    rest = [block for block in blocks if block["type"] != "tool_result"]
    if rest or not blocks:
        yield {"role": role, "content": plain(rest)}


def _assistant(blocks: Sequence[Mapping[str, Any]]) -> ChatMessage:
    said = [block for block in blocks if block["type"] == "text"]
    message: ChatMessage = {"role": "assistant", "content": plain(said)}
    calls = [
        ToolCall(str(block.get("id", "")), str(block.get("name", "")), json.dumps(block.get("input") or {}))
        for block in blocks
        if block["type"] == "tool_use"
    ]
    if calls:
        message["tool_calls"] = [call.as_message() for call in calls]
    return message


def _content(value: Any, where: str) -> list[Mapping[str, Any]]:
    """Content as a list of blocks, with images as OpenAI's format has them."""
    if isinstance(value, str):
        return [{"type": "text", "text": value}] if value else []
    return [_block(block, where) for block in objects(value or [], where)]


def _block(block: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    kind = block.get("type")
    if not isinstance(kind, str):
        raise RequestError(f"{where}: a block has no type")
    if kind == "text":
        if not isinstance(block.get("text"), str):
            raise RequestError(f"{where}: a block of type text has no text")
        return {"type": "text", "text": block["text"]}
    source = block.get("source")
    if kind == "image" and isinstance(source, dict):
        is_inline = source.get("type") == "base64"
        url = f"data:{source.get('media_type')};base64,{source.get('data')}" if is_inline else source.get("url")
        return {"type": "image_url", "image_url": {"url": url}}
    return block


def _tool(given: Mapping[str, Any]) -> dict[str, Any]:
    """A tool of the agent's. Those that only Anthropic's servers have come without a schema."""
    if not isinstance(given.get("name"), str):
        raise RequestError("tools: a tool has no name")
    described = {"description": str(given.get("description") or "")}
    return {"type": "function", "function": {"name": given["name"], **described, "parameters": given["input_schema"]}}


def _choice(given: Any) -> Any:
    if not isinstance(given, dict):
        return None
    if given.get("type") == "tool":
        return {"type": "function", "function": {"name": str(given.get("name"))}}
    return _CHOICES.get(str(given.get("type")))


def _has_text(reply: ChatReply) -> bool:
    return bool(reply.text) or not reply.tool_calls


def _start(call: ToolCall) -> dict[str, Any]:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}


def _stop(reply: ChatReply) -> str:
    return "tool_use" if reply.tool_calls else "end_turn"


def _usage(reply: ChatReply) -> dict[str, int]:
    return {"input_tokens": reply.prompt_tokens or 0, "output_tokens": reply.completion_tokens or 0}


def _head(model: str, number: int) -> dict[str, Any]:
    head = {"id": f"msg_{number:06d}", "type": "message", "role": "assistant", "model": model}
    return {**head, "stop_reason": None, "stop_sequence": None}


def _event(name: str, **data: Any) -> bytes:
    return event({"type": name, **data}, name)
