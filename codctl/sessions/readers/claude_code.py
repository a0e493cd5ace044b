"""What `claude -p --output-format stream-json --verbose` writes to its stdout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from codctl.sessions.session import Call, End, Message, Session, Usage, arguments_of, text_of

NAME, TITLE = "claude-code", "output of Claude Code (stream-json)"
_KINDS = ("system", "assistant", "user", "result")
_NO_PROMPT = "the output has no system prompt and not what the user asked"


def fits(record: Mapping[str, Any]) -> bool:
    kind = record.get("type")
    return "session_id" in record and (
        (kind == "system" and record.get("subtype") == "init") or (kind in _KINDS and "message" in record)
    )


def sessions(records: Sequence[Mapping[str, Any]], name: str) -> Iterator[Session]:
    by_id: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        if record.get("type") in _KINDS:
            by_id.setdefault(str(record.get("session_id", name)), []).append(record)
    for key, group in by_id.items():
        yield _session(key, group)


def _session(key: str, records: Sequence[Mapping[str, Any]]) -> Session:
    messages: list[Message] = []
    last, asides = "", 0  # id of the message that the last record is a part of
    found = Session(key, NAME, agent=NAME, notes=(_NO_PROMPT,))
    for record in records:
        if record["type"] == "system" and record.get("subtype") == "init":
            found = replace(
                found, version=str(record.get("claude_code_version", "")), model=str(record.get("model", ""))
            )
        elif record["type"] == "result":
            found = _ended(found, record)
        elif record.get("parent_tool_use_id"):
            asides += 1
        elif record["type"] == "assistant":
            part, number = _reply(record), str(record["message"].get("id", ""))
            if number and number == last:
                messages[-1] = _joined(messages[-1], part)
            else:
                messages.append(part)
            last = number
        elif record["type"] == "user":
            messages += _heard(record)
            last = ""
    notes = (*found.notes, f"{asides} messages of its sub-agents are left out") if asides else found.notes
    return replace(found, messages=tuple(messages), notes=notes)


def _reply(record: Mapping[str, Any]) -> Message:
    texts, thoughts, calls = [], [], []
    content = record["message"]["content"]
    for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
        if part["type"] == "text":
            texts.append(part["text"])
        elif part["type"] == "thinking":
            thoughts.append(part.get("thinking", ""))
        elif part["type"] == "tool_use":
            calls.append(Call(part["id"], part["name"], arguments_of(part.get("input", {}))))
    at = str(record.get("timestamp", ""))
    # What a part says of its usage is that of the stream's beginning; only the result has the tokens.
    return Message("assistant", "\n".join(texts), tuple(calls), "\n".join(thoughts), at=at)


def _joined(first: Message, second: Message) -> Message:
    return replace(
        first,
        text="\n".join(filter(None, (first.text, second.text))),
        reasoning="\n".join(filter(None, (first.reasoning, second.reasoning))),
        calls=(*first.calls, *second.calls),
    )


def _heard(record: Mapping[str, Any]) -> Iterator[Message]:
    content, at = record["message"]["content"], str(record.get("timestamp", ""))
    for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
        if part["type"] == "tool_result":
            is_error = bool(part.get("is_error"))
            yield Message("tool", text_of(part.get("content")), call_id=part["tool_use_id"], is_error=is_error, at=at)
        elif part["type"] == "text":
            yield Message("user", part["text"], at=at)


def _ended(session: Session, record: Mapping[str, Any]) -> Session:
    """What it says of its end: `subtype` is "success" also after an error of the model."""
    end: End = "ended"
    problem = ""
    if record.get("subtype") == "error_max_turns":
        end = "turn_cap"
    elif record.get("is_error"):
        end = "model_error"
        problem = " ".join(str(record.get("result") or record.get("terminal_reason") or record["subtype"]).split())
    usage = record.get("usage") or {}
    read = [usage.get(f"{kind}input_tokens") for kind in ("", "cache_creation_", "cache_read_")]
    return replace(
        session,
        ended=end,
        problem=problem,
        usage=Usage(sum(filter(None, read)) if read[0] is not None else None, usage.get("output_tokens")),
    )
