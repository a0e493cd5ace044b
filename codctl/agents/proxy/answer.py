"""Protocol `answer`: the model plays in the form that it was trained on, and the agent sees a model that calls tools.

The agent's own prompt is not shown to the model. What comes from the agent is what has to travel through it: the hints,
which its memory file carried into the request, and the observations, which its tool loop brought back.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from codctl.agents.proxy.models import ChatReply, ChatRequest, ToolCall
from codctl.cod.attempt import Attempt
from codctl.cod.engine import EngineError
from codctl.cod.prompts import ParsedAnswer
from codctl.contexts.block import find_blocks
from codctl.sessions.wrapped import peeled

_ID = re.compile(
    r"cod(\d{4})(\d{2})"
)  # nine letters and digits: what the strictest programs and servers leave as it is
_MOST_TRIES = 3  # of a call that does not reach the world
_OVER = "The task is over."
_NOTHING = "I have nothing to add."


@dataclass(frozen=True)
class _Result:
    """What one of our calls came back with: of the first observation (0) or of an action (from 1)."""

    number: int
    tries: int
    text: str


class AnswerModel:
    """One attempt as the model behind a session. See the module.

    Agents are clients without a memory of their own: each request holds the conversation so far. So a request that
    comes again, after a timeout or a lost connection, gets the answer that was given before, and the model is asked
    for each answer once.
    """

    protocol: Literal["answer", "tools"] = "answer"

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._answers: list[ParsedAnswer] = []  # each was asked for after as many actions
        self._turn = asyncio.Lock()  # programs ask several things at once

    async def chat(self, request: ChatRequest) -> ChatReply:
        """See `ChatModel.chat`."""
        async with self._turn:
            return await self._chat(request)

    async def _chat(self, request: ChatRequest) -> ChatReply:
        observe, act = (_tool(request, name) for name in ("observe", "act"))
        if not act or not observe:  # a title or a summary is wanted
            return ChatReply(_NOTHING)
        if self._is_over():
            return ChatReply(_OVER)
        result = _last_result(request)
        if result is None:
            return _call(0, 1, observe)
        if result.number > len(self._attempt.actions):
            return self._again(result, act)
        if result.number == len(self._answers):
            self._answers.append(await self._ask(request, result))
        if self._is_over():
            return ChatReply(_OVER, written=self._said(-1))
        number = min(result.number, len(self._answers) - 1)
        return self._played(number, 1, act)

    def _is_over(self) -> bool:
        return self._attempt.episode.done

    async def _ask(self, request: ChatRequest, result: _Result) -> ParsedAnswer:
        attempt = self._attempt
        known = attempt.observations[result.number]
        told = peeled(result.text, known)
        if result.number:
            return await attempt.ask(told)
        blocks = find_blocks(request.text)
        attempt.open(blocks[-1].text if blocks else "", attempt.episode.first if told == known else told)
        return await attempt.ask()

    def _again(self, result: _Result, act: str) -> ChatReply:
        """An action that was never played: the agent refused to call the tool, or could not."""
        if result.tries >= _MOST_TRIES or result.number > len(self._answers):
            raise EngineError(f"an action did not reach the world: {' '.join(result.text.split())[:200]}")
        return self._played(result.number - 1, result.tries + 1, act)

    def _played(self, number: int, tries: int, act: str) -> ChatReply:
        return _call(number + 1, tries, act, written=self._said(number), text=self._answers[number].action)

    def _said(self, number: int) -> str:
        replies = self._attempt.replies
        return replies[number] if -len(replies) <= number < len(replies) else ""


def _call(number: int, tries: int, tool: str, *, written: str = "", **arguments: str) -> ChatReply:
    call = ToolCall(f"cod{number:04d}{tries:02d}", tool, json.dumps(arguments, ensure_ascii=False))
    return ChatReply("", [call], written=written)


def _tool(request: ChatRequest, name: str) -> str:
    """What the agent calls a tool of the world: `mcp__world__act`, `world__act`; empty where it has none."""
    known: Sequence[str] = request.tool_names
    return next((one for one in known if one == name or one.endswith(f"_{name}")), "")


def _last_result(request: ChatRequest) -> _Result | None:
    for call, text in reversed(list(request.results())):
        if match := _ID.fullmatch(call):
            return _Result(int(match[1]), int(match[2]), text)
    return None
