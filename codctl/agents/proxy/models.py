"""What a model behind the proxy is asked and what it answers, in the form of OpenAI chats.

Both dialects that agents speak are read into a `ChatRequest` and written from a `ChatReply`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

ChatMessage = dict[str, Any]  # role, content, tool_calls, tool_call_id: as OpenAI's format has them


@dataclass(frozen=True)
class ToolCall:
    """A call of a tool.

    Attributes:
        id: By which the result names it.
        name: Of the tool, as the agent's request has it.
        arguments: A JSON object as text.
    """

    id: str
    name: str
    arguments: str

    @property
    def given(self) -> dict[str, Any]:
        """The arguments as an object; empty where the text is none."""
        return object_in(self.arguments) or {}

    def as_message(self) -> dict[str, Any]:
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}}


@dataclass(frozen=True)
class ChatRequest:
    """One request of an agent program.

    Attributes:
        messages: Of which only the first may be a system message: those in the middle are moved to it.
        tools: As OpenAI's format declares them.
        tool_choice: As OpenAI's format has it; None where the agent says nothing.
        max_tokens: Most tokens of the reply: what the agent asks for, or less where the session allows less.
        stop: Texts that end the reply.
        asked: What the agent asks of the sampling. It is recorded and not obeyed: sampling is pinned.
    """

    messages: Sequence[ChatMessage]
    tools: Sequence[Mapping[str, Any]] = ()
    tool_choice: Any = None
    max_tokens: int | None = None
    stop: Sequence[str] = ()
    asked: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tool_names(self) -> list[str]:
        return [tool["function"]["name"] for tool in self.tools]

    @property
    def text(self) -> str:
        """All that is said in it, one message after another, without the calls of tools."""
        return "\n\n".join(filter(None, (text_of(message.get("content")) for message in self.messages)))

    @property
    def estimated_tokens(self) -> int:
        """About how long it is, for programs that want to know how full the window is."""
        return (len(self.text) + len(json.dumps(list(self.tools)))) // 4 + 1

    def results(self) -> Iterator[tuple[str, str]]:
        """What tools returned, in order: the id of the call, and the text."""
        for message in self.messages:
            if message["role"] == "tool":
                yield str(message.get("tool_call_id", "")), text_of(message.get("content"))


@dataclass(frozen=True)
class Tokens:
    """A reply token by token, for training rows.

    Attributes:
        prompt_ids: What it was sampled from.
        ids: Sampled, with the stop token if one was.
        logprobs: Of each sampled token, under the distribution that it was drawn from.
    """

    prompt_ids: Sequence[int]
    ids: Sequence[int]
    logprobs: Sequence[float]


@dataclass(frozen=True)
class ChatReply:
    """What the model answers.

    Attributes:
        text: For the agent; may be empty beside calls of tools.
        tool_calls: Calls of the agent's tools.
        finish: How the model ended. The agent is never told of `length`: agents go on asking after a reply that was
            cut.
        reasoning: Thought before the answer, where the server tells it apart.
        written: What the model wrote, where `text` and `tool_calls` were made of it.
        prompt_tokens: Read; None where nobody counted them.
        completion_tokens: Written; likewise.
        tokens: The tokens themselves, where the model gives them.
    """

    text: str = ""
    tool_calls: Sequence[ToolCall] = ()
    finish: Literal["stop", "length"] = "stop"
    reasoning: str = ""
    written: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    tokens: Tokens | None = None

    def as_json(self) -> dict[str, Any]:
        calls = [vars(call) for call in self.tool_calls]
        return {**vars(self), "tool_calls": calls, "tokens": self.tokens and vars(self.tokens)}


class ChatModel(Protocol):
    """A model behind the proxy.

    Attributes:
        protocol: `answer` where the model is shown the form that it was trained on, `tools` where it reads what the
            agent wrote.
    """

    @property
    def protocol(self) -> Literal["answer", "tools"]: ...

    async def chat(self, request: ChatRequest) -> ChatReply:
        """One reply.

        Raises:
            EngineError: There is none, for no reason of the model's.
        """


def text_of(content: Any) -> str:
    """The text of a message's content, which is a text or a list of parts; what is no text is named in brackets."""
    if isinstance(content, list):
        return "\n".join(part["text"] if part.get("type") == "text" else f"[{part.get('type')}]" for part in content)
    return content or ""


def object_in(text: str) -> dict[str, Any] | None:
    """The JSON object that a text is; None where it is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
