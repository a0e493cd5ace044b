"""A model behind an OpenAI-compatible server: the agent's request goes there as it is, but for the sampling."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from codctl.agents.proxy.models import ChatReply, ChatRequest, Tokens, ToolCall
from codctl.agents.proxy.pinned import ANYBODY, Pinned
from codctl.agents.proxy.tool_text import read_calls
from codctl.cod.engine import EngineError, RequestTag, Sampling
from codctl.engines.openai.engine import OpenAIEngine
from codctl.engines.openai.wire import Completion
from codctl.outcomes import UNPLAYED, ReplyFault

_OBEYED = ("response_format", "reasoning_effort", "parallel_tool_calls")  # of what the agent asks for beside sampling


class _WithheldError(EngineError):
    """A reply that the server made and does not give."""

    def __init__(self, fault: ReplyFault) -> None:
        super().__init__(fault.words or "the server withheld the reply")
        self.kind = fault.kind


class EndpointModel:
    """See the module. Protocol `tools`: the model reads what the agent wrote.

    Args:
        engine: The server.
        sampling: Pinned, but for the token limit where the agent asks for less.
        seed: From which each reply's own seed is derived.
        tag: Where the replies belong.
    """

    protocol: Literal["answer", "tools"] = "tools"

    def __init__(
        self,
        engine: OpenAIEngine,
        sampling: Sampling,
        *,
        seed: int,
        tag: RequestTag = ANYBODY,
    ) -> None:
        self._engine, self._pinned = engine, Pinned(sampling, seed, tag)
        self._calls = 0

    async def chat(self, request: ChatRequest) -> ChatReply:
        """See `ChatModel.chat`."""
        sampling, tag, seed = self._pinned.next(request)
        completion = await self._engine.chat(
            request.messages,
            sampling,
            seed=seed,
            begin=tag.begin,
            more=dict(_more(request)),
            wants_tokens=True,  # vLLM gives them
        )
        if completion.fault and completion.fault.kind in UNPLAYED:
            raise _WithheldError(completion.fault)
        return self._reply(request, completion)

    def _reply(self, request: ChatRequest, completion: Completion) -> ChatReply:
        text, written = completion.text, ""
        calls = [
            ToolCall(given or f"call{number:05d}", name, arguments)
            for number, (given, name, arguments) in enumerate(completion.calls, self._calls + 1)
        ]
        if request.tools and not calls:  # not every server reads the calls out of what the model writes
            text, calls = read_calls(completion.text, self._calls + 1, request.tools)
            written = completion.text if calls else ""
        self._calls += len(calls)
        prompt_tokens, completion_tokens = completion.tokens or (None, None)
        return ChatReply(
            text,
            calls,
            "length" if completion.is_cut else "stop",
            completion.reasoning,
            written,
            prompt_tokens,
            completion_tokens,
            Tokens(*completion.sampled) if completion.sampled else None,
        )


def _more(request: ChatRequest) -> Iterator[tuple[str, Any]]:
    if request.tools:
        yield "tools", list(request.tools)
        if request.tool_choice is not None:
            yield "tool_choice", request.tool_choice
    if request.stop:
        yield "stop", list(request.stop)
    yield from ((name, request.asked[name]) for name in _OBEYED if name in request.asked)
