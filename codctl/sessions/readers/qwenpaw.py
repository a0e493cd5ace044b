"""A log of the Agent Client Protocol, as codctl keeps of QwenPaw: a message a line, of both sides or only its own.

Any agent that speaks the protocol leaves the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from codctl.sessions.session import Call, End, Message, Session, Usage, arguments_of, text_of

NAME, TITLE = "qwenpaw", "log of QwenPaw (Agent Client Protocol)"
_ENDS: Mapping[str, End] = {"end_turn": "ended", "max_turn_requests": "turn_cap", "max_tokens": "model_error"}
_DONE = ("completed", "failed")
_NO_PROMPT = "the log has no system prompt"


def fits(record: Mapping[str, Any]) -> bool:
    has_agent = isinstance(record.get("result"), dict) and "agentInfo" in record["result"]
    return has_agent or str(record.get("method", "")).startswith("session/")


def sessions(records: Sequence[Mapping[str, Any]], name: str) -> Iterator[Session]:
    found = Session(name, NAME, agent=NAME, notes=(_NO_PROMPT,))
    begun = _Begun([], {})
    for record in records:
        result, params = record.get("result"), record.get("params") or {}
        if isinstance(result, dict):
            about = result.get("agentInfo") or {}
            found = replace(
                found,
                agent=str(about.get("name") or found.agent),
                version=str(about.get("version") or found.version),
                id=str(result.get("sessionId") or found.id),
                ended=_ENDS.get(result["stopReason"], "unknown") if "stopReason" in result else found.ended,
                model=str((result.get("models") or {}).get("currentModelId") or found.model),
            )
        elif record.get("method") == "session/prompt":
            begun.say(Message("user", text_of(params["prompt"])))
        elif record.get("method") == "session/update":
            begun.take(params["update"])
    yield replace(found, messages=tuple(begun.messages))


class _Begun:
    """A conversation that is put together from its pieces."""

    def __init__(self, messages: list[Message], answered: dict[str, bool]) -> None:
        self.messages, self._answered = messages, answered

    def say(self, message: Message) -> None:
        self.messages.append(message)

    def take(self, update: Mapping[str, Any]) -> None:
        kind = update["sessionUpdate"]
        if kind == "user_message_chunk":
            self.say(Message("user", text_of([update["content"]])))
        elif kind in ("agent_message_chunk", "agent_thought_chunk"):
            reply, text = self._reply(), text_of([update["content"]])
            counted = (update.get("_meta") or {}).get("usage") or {}
            usage = Usage(counted.get("inputTokens"), counted.get("outputTokens")) if counted else reply.usage
            is_thought = kind == "agent_thought_chunk"
            self.messages[-1] = replace(
                reply,
                text=reply.text if is_thought else reply.text + text,
                reasoning=reply.reasoning + text if is_thought else reply.reasoning,
                usage=usage,
            )
        elif kind == "tool_call":
            reply = self._reply()
            call = Call(update["toolCallId"], str(update.get("title", "")), arguments_of(update.get("rawInput") or {}))
            self.messages[-1] = replace(reply, calls=(*reply.calls, call))
        elif kind == "tool_call_update" and update.get("status") in _DONE:
            self._result(update)

    def _reply(self) -> Message:
        """The reply that is being made: the last message, or a new one."""
        if not self.messages or self.messages[-1].role != "assistant":
            self.messages.append(Message("assistant", ""))
        return self.messages[-1]

    def _result(self, update: Mapping[str, Any]) -> None:
        key = update["toolCallId"]
        if self._answered.setdefault(key, False):
            return
        self._answered[key] = True
        parts = [part.get("content") for part in update.get("content") or () if part.get("type") == "content"]
        text = text_of(parts) or text_of(update.get("rawOutput"))
        self.say(Message("tool", text, call_id=key, is_error=update["status"] == "failed"))
