"""Calls of tools as text, in the forms that Hermes and Qwen models are trained on."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from codctl.agents.proxy.models import ChatMessage, ToolCall, object_in, text_of
from codctl.envs.base import Message

_CALL = re.compile(r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL)
_FUNCTION = re.compile(r"<function=([^>\s]+)>(.*?)(?:</function>)?", re.DOTALL)
_PARAMETER = re.compile(r"<parameter=([^>\s]+)>\n?(.*?)\n?</parameter>", re.DOTALL)
_TOOLS = """\
# Tools

You may call one or more of these functions:
<tools>
{tools}
</tools>

For each call, return a JSON object with the name of the function and its arguments between these tags:
<tool_call>
{{"name": <name of the function>, "arguments": <object with the arguments>}}
</tool_call>"""


def read_calls(written: str, first: int, tools: Sequence[Mapping[str, Any]] = ()) -> tuple[str, list[ToolCall]]:
    """Take the calls out of what a model wrote: the text that remains, and the calls.

    Args:
        written: By the model. What cannot be read as a call stays in the text.
        first: Number of the first call, for its id.
        tools: Whose schemas say which arguments are texts, where the form of the calls does not.
    """
    calls: list[ToolCall] = []

    def take(match: re.Match[str]) -> str:
        found = _read_object(match[1]) or _read_tags(match[1], tools)
        if found is None:
            return match[0]
        name, arguments = found
        calls.append(ToolCall(f"call{first + len(calls):05d}", name, json.dumps(arguments, ensure_ascii=False)))
        return ""

    text = _CALL.sub(take, written)
    return text.strip() if calls else text, calls


def _read_object(text: str) -> tuple[str, dict[str, Any]] | None:
    """A call as a JSON object: Hermes, Qwen2.5, Qwen3."""
    found = object_in(text)
    if found is None or not isinstance(found.get("name"), str):
        return None
    arguments = found.get("arguments", {})
    if isinstance(arguments, str):
        arguments = object_in(arguments)
    return (found["name"], arguments) if isinstance(arguments, dict) else None


def _read_tags(text: str, tools: Sequence[Mapping[str, Any]]) -> tuple[str, dict[str, Any]] | None:
    """A call in tags: Qwen3-Coder, Qwen3.5 and later, Nemotron 3."""
    function = _FUNCTION.fullmatch(text.strip())
    if function is None:
        return None
    name = function[1]
    schemas = (tool["function"] for tool in tools)
    given = next((one.get("parameters") for one in schemas if one["name"] == name), None) or {}
    kinds = given.get("properties") or {}
    return name, {key: _typed(value, kinds.get(key) or {}) for key, value in _PARAMETER.findall(function[2])}


def _typed(text: str, schema: Mapping[str, Any]) -> Any:
    if schema.get("type", "string") == "string":
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def with_objects(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """The messages with texts for contents and objects for the arguments of calls, as chat templates take them."""
    return [_with_objects(message) for message in messages]


def _with_objects(message: ChatMessage) -> ChatMessage:
    found = {**message, "content": text_of(message.get("content"))}
    if calls := message.get("tool_calls"):
        functions = [call["function"] for call in calls]
        found["tool_calls"] = [
            {"type": "function", "function": {**one, "arguments": object_in(one["arguments"]) or {}}}
            for one in functions
        ]
    return found


def written_out(messages: Sequence[ChatMessage], tools: Sequence[Mapping[str, Any]]) -> list[Message]:
    """The same conversation in texts alone, for a chat template that knows no tools."""
    found: list[Message] = []
    if tools:
        about = _TOOLS.format(tools="\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools))
        found.append({"role": "system", "content": about})
    for message in messages:
        role, text = message["role"], text_of(message.get("content"))
        if role == "system" and found:
            found[0]["content"] = f"{text}\n\n{found[0]['content']}"
            continue
        if role == "tool":
            role, text = "user", f"<tool_response>\n{text}\n</tool_response>"
        text = "\n".join(filter(None, [text, *map(_written, message.get("tool_calls") or ())]))
        if found and found[-1]["role"] == role:
            found[-1]["content"] += f"\n{text}"
        else:
            found.append({"role": role, "content": text})
    return found


def _written(call: Mapping[str, Any]) -> str:
    function = call["function"]
    said = {"name": function["name"], "arguments": object_in(function["arguments"]) or {}}
    return f"<tool_call>\n{json.dumps(said, ensure_ascii=False)}\n</tool_call>"
