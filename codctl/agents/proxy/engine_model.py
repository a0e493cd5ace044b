"""A model of codctl behind the proxy: its chat template writes the agent's request, its engine samples the reply."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from codctl.agents.proxy.models import ChatMessage, ChatReply, ChatRequest, Tokens, ToolCall
from codctl.agents.proxy.pinned import ANYBODY, Pinned
from codctl.agents.proxy.tool_text import read_calls, with_objects, written_out
from codctl.cod.chat_template import TemplateError
from codctl.cod.conversation import TemplateChat
from codctl.cod.engine import Engine, EngineError, Generation, RequestTag, Sampling
from codctl.cod.requests import Request, Requests
from codctl.errors import PreflightError
from codctl.outcomes import FaultKind

_PROBE = ToolCall("call00000", "ask_probe", '{"text": "given probe"}')


class _RefusedError(EngineError):
    """The chat template does not take the request."""

    kind: FaultKind = "rejected"


class EngineModel:
    """See the module. Protocol `tools`: the model reads what the agent wrote.

    Each request is rendered anew, so its reply is a training row of its own.

    Args:
        engine: That samples.
        chat: Its chat template. One that leaves tools out, or writes calls in a form that is not read here, gets them
            as text in the form of Hermes.
        sampling: Pinned, but for the token limit where the agent asks for less.
        seed: From which each reply's own seed is derived.
        deadline_s: Of one reply, and of a queue that does not move.
        tag: Where the replies belong.
        requests: To this engine, where others ask it as well.
    """

    protocol: Literal["answer", "tools"] = "tools"

    def __init__(
        self,
        engine: Engine,
        chat: TemplateChat,
        sampling: Sampling,
        *,
        seed: int,
        deadline_s: float,
        tag: RequestTag = ANYBODY,
        requests: Requests | None = None,
    ) -> None:
        self._engine, self._chat, self._deadline_s = engine, chat, deadline_s
        self._pinned, self._requests = Pinned(sampling, seed, tag), requests or Requests()
        self._calls = 0
        self._renders_tools = _renders_tools(chat)

    async def chat(self, request: ChatRequest) -> ChatReply:
        """See `ChatModel.chat`."""
        prompt_ids = self._prompt(request)
        sampling, tag, seed = self._pinned.next(request)
        sampling = replace(sampling, stop_ids=self._chat.stop_ids)

        async def ask(waiting: Request) -> Generation:
            timed = replace(tag, begin=waiting.begin, wait=waiting.wait)
            return await self._engine.generate(prompt_ids, sampling, seed=seed, tag=timed)

        generation = await self._requests.reply(ask, self._deadline_s, str(tag))
        return self._reply(request, prompt_ids, generation)

    def _prompt(self, request: ChatRequest) -> list[int]:
        chat = self._chat
        try:
            if self._renders_tools:
                return chat.open_with_tools(with_objects(request.messages), request.tools)
            return chat.open_with_tools(written_out(request.messages, request.tools))
        except TemplateError as error:
            raise _RefusedError(f"the chat template does not render the request: {error}") from error
        except PreflightError as error:  # it takes too long, or writes without end
            raise _RefusedError(error.message) from error

    def _reply(self, request: ChatRequest, prompt_ids: list[int], found: Generation) -> ChatReply:
        written = self._chat.decode(found.token_ids)
        for stop in request.stop:
            written = written.partition(stop)[0]
        text, calls = read_calls(written, self._calls + 1, request.tools)
        self._calls += len(calls)
        return ChatReply(
            text,
            calls,
            found.finish_reason,
            written=written if calls else "",
            prompt_tokens=len(prompt_ids),
            completion_tokens=len(found.token_ids),
            tokens=Tokens(prompt_ids, found.token_ids, found.logprobs),
        )


def _renders_tools(chat: TemplateChat) -> bool:
    """Whether the chat template writes tools, what they return, and calls of them so that they can be read back."""
    messages: list[ChatMessage] = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "", "tool_calls": [_PROBE.as_message()]},
        {"role": "tool", "name": _PROBE.name, "tool_call_id": _PROBE.id, "content": "returned probe"},
    ]
    tool = {"name": _PROBE.name, "description": "tool probe", "parameters": {"type": "object", "properties": {}}}
    try:
        text = chat.show(chat.open_with_tools(with_objects(messages), [{"type": "function", "function": tool}]))
    except (TemplateError, PreflightError):
        return False
    known = [(call.name, call.given) for call in read_calls(text, 1)[1]]
    return (_PROBE.name, _PROBE.given) in known and "tool probe" in text and "returned probe" in text
