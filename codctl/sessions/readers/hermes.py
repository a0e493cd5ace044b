"""What `hermes sessions export FILE` writes: a session a line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from codctl.sessions.session import Call, End, Message, Session, Usage, arguments_of, text_of

NAME, TITLE = "hermes", "export of Hermes (sessions export)"
_NO_VERSION = "the export does not name Hermes's version, nor the tools that it offered"


def fits(record: Mapping[str, Any]) -> bool:
    return isinstance(record.get("messages"), list) and "system_prompt" in record and "api_call_count" in record


def sessions(records: Sequence[Mapping[str, Any]], name: str) -> Iterator[Session]:
    for record in records:
        system = record.get("system_prompt")
        messages = [Message("system", system)] if system else []
        messages += [_message(one) for one in record["messages"] if one.get("active", 1)]
        last = record["messages"][-1] if record["messages"] else {}
        end: End = "turn_cap" if record.get("end_reason") == "max_turns" else "ended"
        yield Session(
            id=str(record.get("id", name)),
            source=NAME,
            agent=NAME,
            model=str(record.get("model") or ""),
            messages=tuple(messages),
            ended=end if last.get("role") == "assistant" and not last.get("tool_calls") else "unknown",
            usage=Usage(record.get("input_tokens"), record.get("output_tokens")),
            notes=(_NO_VERSION,),
        )


def _message(one: Mapping[str, Any]) -> Message:
    calls = tuple(
        Call(str(call["id"]), call["function"]["name"], arguments_of(call["function"].get("arguments")))
        for call in one.get("tool_calls") or ()
    )
    stamp = one.get("timestamp")
    return Message(
        one["role"],
        text_of(one.get("content")),
        calls,
        reasoning=one.get("reasoning_content") or one.get("reasoning") or "",
        call_id=one.get("tool_call_id") or "",
        at=datetime.fromtimestamp(stamp, UTC).isoformat() if isinstance(stamp, int | float) else "",
    )
