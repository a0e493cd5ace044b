"""A session of an agent program in one form, whatever has written it down."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

Role = Literal["system", "user", "assistant", "tool"]
End = Literal["ended", "turn_cap", "timeout", "model_error", "crashed", "unknown"]


@dataclass(frozen=True)
class Call:
    """A call of a tool.

    Attributes:
        id: By which its result names it.
        name: Of the tool, as the agent calls it.
        arguments: By name; `{"": TEXT}` where they were no JSON object.
    """

    id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Usage:
    """Tokens as they were counted; None where nobody did."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


@dataclass(frozen=True)
class Tokens:
    """A reply token by token.

    Attributes:
        prompt_ids: What it was sampled from.
        ids: Sampled, with the stop token if one was.
        logprobs: Of each sampled token, under the policy that it was drawn from.
    """

    prompt_ids: tuple[int, ...]
    ids: tuple[int, ...]
    logprobs: tuple[float, ...]


@dataclass(frozen=True)
class Message:
    """One message.

    Attributes:
        role: Who says it; `tool` is the result of a call.
        text: What is said.
        calls: Assistant: the tools that it calls.
        reasoning: Assistant: thought before it, where it was told apart.
        written: Assistant: what the model wrote, where text and calls were made of it.
        call_id: Tool: the call that it answers.
        is_error: Tool: whether the call failed.
        usage: Assistant: of this reply.
        tokens: Assistant: of this reply.
        at: When, as ISO 8601; empty where it is not known.
    """

    role: Role
    text: str
    calls: tuple[Call, ...] = ()
    reasoning: str = ""
    written: str = ""
    call_id: str = ""
    is_error: bool = False
    usage: Usage = Usage()
    tokens: Tokens | None = None
    at: str = ""


@dataclass(frozen=True)
class Session:
    """One session.

    Attributes:
        id: Its own.
        source: The form that it was read from.
        agent: Name of the agent program; empty where it is not known, as the next two.
        version: Of the agent program.
        model: As the agent calls it.
        messages: In order.
        tools: That the model could call, as OpenAI's format declares them; empty where they were not recorded.
        ended: How it ended.
        problem: What went wrong, on one line.
        usage: Of the whole session.
        reward: None where nobody has given one.
        reward_from: Who gave it: `source`, `given` or `verified`.
        notes: What is missing in it, and why.
    """

    id: str
    source: str
    agent: str = ""
    version: str = ""
    model: str = ""
    messages: tuple[Message, ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()
    ended: End = "unknown"
    problem: str = ""
    usage: Usage = Usage()
    reward: float | None = None
    reward_from: str = ""
    notes: tuple[str, ...] = ()

    @property
    def replies(self) -> list[Message]:
        return [message for message in self.messages if message.role == "assistant"]

    @property
    def tokens(self) -> Literal["exact", "none"]:
        """Whether every reply is known token by token, with log-probs: what training on it needs."""
        replies = self.replies
        return "exact" if replies and all(reply.tokens for reply in replies) else "none"

    @property
    def tool_calls(self) -> int:
        return sum(len(reply.calls) for reply in self.replies)

    @property
    def counted(self) -> Usage:
        """Tokens of the whole session: its own count, or the sum over its replies where each of them has one."""
        own, replies = self.usage, [reply.usage for reply in self.replies]
        return Usage(
            _total([own.prompt_tokens], [one.prompt_tokens for one in replies]),
            _total([own.completion_tokens], [one.completion_tokens for one in replies]),
        )

    def as_dict(self, *, tokens: bool = False) -> dict[str, Any]:
        """As plain data, with messages in the form of OpenAI chats; with their token ids where that is asked for."""
        return {
            "schema": 1,
            "id": self.id,
            "source": self.source,
            "agent": self.agent,
            "version": self.version,
            "model": self.model,
            "ended": self.ended,
            "problem": self.problem,
            "reward": self.reward,
            "reward_from": self.reward_from,
            "tokens": self.tokens,
            "usage": vars(self.counted),
            "notes": list(self.notes),
            "tools": [dict(tool) for tool in self.tools],
            "messages": [_as_chat(message, tokens) for message in self.messages],
        }


def rewritten(session: Session, change: Callable[[str], str]) -> Session:
    """The session with every text changed: of messages, arguments, tools, and what was said of it.

    Tokens of a reply are dropped where they stand for a text that changes, for they cannot be changed.
    """

    def message(one: Message) -> Message:
        calls = tuple(
            replace(call, name=change(call.name), arguments=_changed(call.arguments, change)) for call in one.calls
        )
        return replace(
            one, text=change(one.text), calls=calls, reasoning=change(one.reasoning), written=change(one.written)
        )

    messages: list[Message] = []
    is_same = True  # the prompt of a reply holds all that was said before it
    for old in session.messages:
        new = message(old)
        is_same = is_same and new == old
        messages.append(new if is_same else replace(new, tokens=None))
    return replace(
        session,
        id=change(session.id),
        model=change(session.model),
        messages=tuple(messages),
        tools=tuple(_changed(tool, change) for tool in session.tools),
        problem=change(session.problem),
        notes=tuple(map(change, session.notes)),
    )


def arguments_of(given: Any) -> Mapping[str, Any]:
    """Arguments of a call, which some write as an object and some as its JSON."""
    if isinstance(given, str):
        try:
            given = json.loads(given) if given.strip() else {}
        except (ValueError, RecursionError):
            return {"": given}
    return given if isinstance(given, dict) else {"": json.dumps(given)}


def text_of(content: Any) -> str:
    """The text in a message's content: a string, or a list of parts of which some are texts."""
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, dict) else part for part in content]
        return "\n".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def _total(own: Sequence[int | None], each: Sequence[int | None]) -> int | None:
    counts = own if own[0] is not None else each
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None


def _as_chat(message: Message, tokens: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.calls:
        found["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)},
            }
            for call in message.calls
        ]
    optional = {
        "reasoning_content": message.reasoning,
        "written": message.written,
        "tool_call_id": message.call_id,
        "is_error": message.is_error,
        "at": message.at,
        "usage": {name: count for name, count in vars(message.usage).items() if count is not None},
        "tokens": vars(message.tokens) if tokens and message.tokens else None,
    }
    return found | {name: value for name, value in optional.items() if value}


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {change(str(name)): _changed(one, change) for name, one in value.items()}
    return [_changed(one, change) for one in value] if isinstance(value, list | tuple) else value
