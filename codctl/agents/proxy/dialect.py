"""A format in which agents talk to models: what the two have in common."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from codctl.agents.proxy.models import ChatMessage, ChatReply, ChatRequest, text_of


class RequestError(Exception):
    """A request that is answered with an error.

    Attributes:
        status: HTTP status: 400 where it is not what the format promises.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class Dialect(Protocol):
    """Reads requests and writes replies.

    Attributes:
        name: `openai` or `anthropic`.
        ping: What keeps a stream open that has nothing to say yet.
    """

    name: str
    ping: bytes

    def read(self, body: Mapping[str, Any]) -> ChatRequest:
        """RequestError where it is none."""

    def whole(self, reply: ChatReply, model: str, number: int) -> dict[str, Any]:
        """The reply as one object.

        Args:
            reply: What the model answers.
            model: As the request names it.
            number: Of the exchange.
        """

    def begin(self, model: str, number: int) -> Iterable[bytes]:
        """The first events of a stream, before the reply is known."""

    def events(self, reply: ChatReply, model: str, number: int, body: Mapping[str, Any]) -> Iterator[bytes]:
        """All that follows once the reply is known."""

    def error(self, status: int, message: str) -> dict[str, Any]: ...

    def error_event(self, status: int, message: str) -> bytes:
        """An error in a stream that has begun."""


def as_bytes(value: Any) -> bytes:
    """JSON on one line. Half a surrogate pair, which a model may write, is in no text that can be sent."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")


def event(data: Mapping[str, Any], name: str = "") -> bytes:
    """A server-sent event."""
    head = f"event: {name}\n" if name else ""
    return head.encode() + b"data: " + as_bytes(data) + b"\n\n"


def hoisted(messages: Iterable[ChatMessage]) -> list[ChatMessage]:
    """The messages with all that the system says in one message at the front, as strict chat templates want it."""
    system, rest = [], []
    for message in messages:
        if message["role"] == "system":
            system.append(text_of(message.get("content")))
        else:
            rest.append(message)
    text = "\n\n".join(filter(None, system))
    return [{"role": "system", "content": text}, *rest] if text else rest


def plain(content: Any) -> Any:
    """A list of texts as one text, since not every chat template takes a list; other contents as they are."""
    if isinstance(content, list) and all(part.get("type") == "text" for part in content):
        return text_of(content)
    return content


def objects(value: Any, where: str) -> Sequence[Mapping[str, Any]]:
    """A list of objects.

    Raises:
        RequestError: It is something else.
    """
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise RequestError(f"{where}: expected a list of objects")
    return value


def positive(body: Mapping[str, Any], *names: str) -> int | None:
    """The first of these keys that holds a number of tokens."""
    for name in names:
        value = body.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise RequestError(f"{name}: expected a number above 0")
        return value
    return None


def texts(value: Any, where: str) -> tuple[str, ...]:
    """One text or a list of them."""
    found = [value] if isinstance(value, str) else value or []
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise RequestError(f"{where}: expected a text or a list of texts")
    return tuple(found)
