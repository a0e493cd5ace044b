"""events.jsonl of what `openclaw sessions export-trajectory` writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from codctl.sessions.session import Call, End, Message, Session, Usage, arguments_of, text_of

NAME, TITLE = "openclaw", "trajectory of OpenClaw (events.jsonl)"


def fits(record: Mapping[str, Any]) -> bool:
    return record.get("traceSchema") == "openclaw-trajectory"


def sessions(records: Sequence[Mapping[str, Any]], name: str) -> Iterator[Session]:
    by_id: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        by_id.setdefault(str(record.get("sessionId", name)), []).append(record)
    for key, group in by_id.items():
        yield _session(key, group)


def _session(key: str, records: Sequence[Mapping[str, Any]]) -> Session:
    messages: list[Message] = []
    system, version, model, usage = "", "", "", Usage()
    tools: tuple[Mapping[str, Any], ...] = ()
    end: End = "unknown"
    for record in records:
        kind, data = record["type"], record.get("data") or {}
        if kind == "context.compiled" and not system:
            system, tools = data.get("systemPrompt") or "", tuple(map(_tool, data.get("tools") or ()))
        elif kind == "trace.metadata":
            version = str((data.get("harness") or {}).get("version", ""))
        elif kind == "model.completed":
            usage = _usage(data.get("usage"))
        elif kind == "session.ended":
            end = _end(data)
        elif record["source"] == "transcript" and "message" in data:
            messages.append(_message(data["message"], str(record.get("ts", ""))))
        model = str(record.get("modelId") or model)
    told = [Message("system", system)] if system else []
    return Session(key, NAME, NAME, version, model, (*told, *messages), tools, end, usage=usage)


def _tool(one: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"type": "function", "function": dict(one)}


def _message(one: Mapping[str, Any], at: str) -> Message:
    if one["role"] == "toolResult":
        is_error = bool(one.get("isError"))
        return Message("tool", text_of(one.get("content")), call_id=one["toolCallId"], is_error=is_error, at=at)
    if one["role"] == "user":
        return Message("user", text_of(one["content"]), at=at)
    parts = one["content"] if isinstance(one["content"], list) else [{"type": "text", "text": one["content"]}]
    return Message(
        "assistant",
        "\n".join(part["text"] for part in parts if part["type"] == "text").strip(),
        tuple(Call(part["id"], part["name"], arguments_of(part["arguments"])) for part in parts if "arguments" in part),
        reasoning="\n".join(part.get("thinking", "") for part in parts if part["type"] == "thinking"),
        usage=_usage(one.get("usage")),
        at=at,
    )


def _usage(counted: Mapping[str, Any] | None) -> Usage:
    if not counted or "input" not in counted:
        return Usage()
    return Usage(sum(counted.get(kind) or 0 for kind in ("input", "cacheRead", "cacheWrite")), counted.get("output"))


def _end(data: Mapping[str, Any]) -> End:
    if data.get("timedOut"):
        return "timeout"
    return "ended" if data.get("status") == "success" else "model_error"
