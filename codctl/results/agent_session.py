"""A session of an agent program for a reader: the conversation that it led with its model, from the proxy's record."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codctl.files import reader

SESSIONS = "sessions"  # in the folder of an evaluation
EXCHANGES = "exchanges.jsonl"  # in that of a session


@dataclass(frozen=True)
class Said:
    """One message: who said it (`system`, `user`, `assistant`, `tool`), and what."""

    role: str
    text: str


@dataclass(frozen=True)
class AgentSession:
    """What an agent program told its model, and what that answered.

    Attributes:
        exchanges: Requests that the model was asked in it.
        tools: Names of the tools that the program offered.
        messages: Its conversation, from the program's own prompt to the last reply.
    """

    exchanges: int
    tools: tuple[str, ...]
    messages: tuple[Said, ...]


@dataclass(frozen=True)
class _Request:
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]]


@dataclass(frozen=True)
class _Reply:
    text: str
    tool_calls: list[dict[str, Any]]
    written: str = ""


@dataclass(frozen=True)
class _Exchange:
    request: _Request
    reply: _Reply | None = None
    error: str = ""


def read_session(evaluation: Path, session: str) -> AgentSession | None:
    """A session of an evaluation; None where nothing is left of it.

    Args:
        evaluation: Its folder.
        session: Path of the session's folder below it.
    """
    path = evaluation / session / EXCHANGES
    number, last = 0, None
    for line in reader.lines(path, within=evaluation):
        try:
            found = reader.check_json(line, _Exchange)
        except ValueError:  # the end of a record that was cut short
            continue
        number += 1
        if found.request.tools or last is None or not last.request.tools:  # others are asides, such as a title
            last = found
    return _told(number, last) if last else None


def _told(number: int, last: _Exchange) -> AgentSession:
    """Each request holds the conversation so far, so that the last one has it whole."""
    tools = tuple(str(tool.get("function", {}).get("name", "")) for tool in last.request.tools)
    messages = [_said(message) for message in last.request.messages]
    if last.reply:
        messages.append(_said({"role": "assistant", "content": last.reply.text, "tool_calls": last.reply.tool_calls}))
    elif last.error:
        messages.append(Said("error", last.error))
    return AgentSession(number, tools, tuple(messages))


def _said(message: dict[str, Any]) -> Said:
    calls = "\n".join(_call(call) for call in message.get("tool_calls") or [])
    return Said(str(message.get("role", "")), "\n".join(filter(None, (_text(message.get("content")), calls))))


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(str(part.get("text", f"[{part.get('type')}]")) for part in content if isinstance(part, dict))
    return str(content or "")


def _call(call: dict[str, Any]) -> str:
    """A call of a tool, in one of two forms: as a message holds it, or as a reply does."""
    made = call.get("function", call)
    name, arguments = str(made.get("name", "")), str(made.get("arguments", ""))
    try:
        found = json.loads(arguments)
    except (ValueError, RecursionError):
        return f"{name}({arguments})"
    if isinstance(found, dict):
        arguments = ", ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in found.items())
    return f"{name}({arguments})"
