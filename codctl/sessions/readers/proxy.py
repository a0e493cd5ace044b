"""exchanges.jsonl of codctl's model proxy: every request of an agent program, and what the model replied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from codctl.sessions.session import Call, End, Message, Role, Session, Tokens, Usage, arguments_of, text_of

NAME, TITLE = "proxy", "record of codctl's model proxy (exchanges.jsonl)"


def fits(record: Mapping[str, Any]) -> bool:
    return isinstance(record.get("request"), dict) and "dialect" in record and "reply" in record


def sessions(records: Sequence[Mapping[str, Any]], name: str) -> Iterator[Session]:
    """Each conversation is a session: agents also ask for titles, or begin anew after they have cut their history."""
    conversations: list[_Conversation] = []
    for record in records:
        heard = [_message(one) for one in record["request"]["messages"]]
        going_on = (one for one in reversed(conversations) if one.goes_on_with(heard))
        chosen = next(going_on, None)
        if chosen is None:
            chosen = _Conversation()
            conversations.append(chosen)
        chosen.take(record, heard)
    for number, one in enumerate(conversations, 1):
        yield one.session(name if len(conversations) == 1 else f"{name}/{number}")


class _Conversation:
    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._model, self._ended, self._problem = "", "unknown", ""
        self._agent, self._version = "", ""
        self._tools: tuple[Mapping[str, Any], ...] = ()

    def goes_on_with(self, heard: Sequence[Message]) -> bool:
        """Whether a request repeats all that was said so far."""
        if len(heard) < len(self._messages):
            return False
        return all(_is_same(one, other) for one, other in zip(self._messages, heard, strict=False))

    def take(self, record: Mapping[str, Any], heard: Sequence[Message]) -> None:
        self._model = str(record.get("model") or self._model)
        self._agent, self._version = str(record.get("agent") or ""), str(record.get("agent_version") or "")
        self._tools = tuple(record["request"].get("tools") or ()) or self._tools
        self._messages += heard[len(self._messages) :]
        reply = record.get("reply")
        if record.get("capped"):
            self._ended, self._problem = "turn_cap", ""
        elif reply is None:
            self._ended, self._problem = "model_error", " ".join(str(record.get("error", "")).split())
        else:
            self._messages.append(_reply(reply, str(record.get("at", ""))))
            self._ended, self._problem = ("unknown" if reply.get("tool_calls") else "ended"), ""

    def session(self, name: str) -> Session:
        end: End = self._ended  # type: ignore[assignment]  # one of the three above
        return Session(
            name, NAME, self._agent, self._version, self._model, tuple(self._messages), tools=self._tools, ended=end,
            problem=self._problem, notes=() if self._agent else ("the record does not say which agent program asked",),
        )  # fmt: skip


def _message(one: Mapping[str, Any]) -> Message:
    calls = tuple(
        Call(str(call.get("id", "")), call["function"]["name"], arguments_of(call["function"].get("arguments")))
        for call in one.get("tool_calls") or ()
    )
    role: Role = "system" if one["role"] == "developer" else one["role"]
    return Message(role, text_of(one.get("content")), calls, call_id=str(one.get("tool_call_id") or ""))


def _reply(reply: Mapping[str, Any], at: str) -> Message:
    tokens = reply.get("tokens")
    calls = tuple(Call(one["id"], one["name"], arguments_of(one["arguments"])) for one in reply.get("tool_calls") or ())
    return Message(
        "assistant",
        reply.get("text") or "",
        calls,
        reasoning=reply.get("reasoning") or "",
        written=reply.get("written") or "",
        usage=Usage(reply.get("prompt_tokens"), reply.get("completion_tokens")),
        tokens=_tokens(tokens) if tokens else None,
        at=at,
    )


def _tokens(found: Mapping[str, Any]) -> Tokens | None:
    """Only with a log-prob for each id."""
    ids, logprobs = tuple(map(int, found["ids"])), tuple(map(float, found["logprobs"]))
    return Tokens(tuple(map(int, found["prompt_ids"])), ids, logprobs) if len(ids) == len(logprobs) else None


def _is_same(one: Message, other: Message) -> bool:
    """Whether a message is the same in a later request; agents change spaces and the ids of calls."""
    if one.role != other.role:
        return False
    if one.role == "assistant":
        return [call.name for call in one.calls] == [call.name for call in other.calls]
    return one.role == "system" or one.text.strip() == other.text.strip()
