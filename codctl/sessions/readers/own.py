"""sessions.jsonl of `codctl import sessions`: sessions in the one form, a line for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from codctl.sessions.session import Call, Message, Session, Tokens, Usage, arguments_of

NAME, TITLE = "codctl", "file of imported sessions (sessions.jsonl)"


def fits(record: Mapping[str, Any]) -> bool:
    return "reward_from" in record and isinstance(record.get("messages"), list)


def sessions(records: Sequence[Mapping[str, Any]], name: str) -> Iterator[Session]:
    for record in records:
        texts = {key: str(record[key]) for key in ("id", "source", "agent", "version", "model", "problem")}
        reward = record["reward"]
        yield Session(
            **texts,
            messages=tuple(map(_message, record["messages"])),
            tools=tuple(record["tools"]),
            ended=record["ended"],
            usage=Usage(**record["usage"]),
            reward=None if reward is None else float(reward),
            reward_from=str(record["reward_from"]),
            notes=tuple(map(str, record["notes"])),
        )


def _message(one: Mapping[str, Any]) -> Message:
    tokens = one.get("tokens")
    return Message(
        one["role"],
        one["content"],
        tuple(
            Call(call["id"], call["function"]["name"], arguments_of(call["function"]["arguments"]))
            for call in one.get("tool_calls", ())
        ),
        reasoning=one.get("reasoning_content", ""),
        written=one.get("written", ""),
        call_id=one.get("tool_call_id", ""),
        is_error=bool(one.get("is_error")),
        usage=Usage(**one.get("usage", {})),
        tokens=Tokens(*(tuple(tokens[key]) for key in ("prompt_ids", "ids", "logprobs"))) if tokens else None,
        at=one.get("at", ""),
    )
