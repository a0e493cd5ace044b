"""The model proxy with the Anthropic SDK as its client."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anthropic
import pytest

from codctl.agents.proxy import server
from codctl.agents.proxy.models import ChatModel, ChatReply, ToolCall
from codctl.cod.engine import EngineError, PromptTooLongError
from tests.agents.proxy.serving import KEY, Place, Scripted, Serving

ACT = {"name": "mcp__world__act", "description": "Play.", "input_schema": {"type": "object", "properties": {}}}
CALLS = [ToolCall("cod000101", "mcp__world__act", '{"text": "K"}'), ToolCall("cod000201", "mcp__world__act", "{")]


@dataclass
class Client:
    place: Place
    sdk: anthropic.AsyncAnthropic

    async def create(self, **more: Any) -> Any:
        asked = {"model": "m", "max_tokens": 50, "messages": [{"role": "user", "content": "Hello."}]}
        return await self.sdk.messages.create(**{**asked, **more})


@asynccontextmanager
async def client(
    serving: Serving, model: ChatModel, folder: Path | None = None, **limits: Any
) -> AsyncIterator[Client]:
    http = anthropic.DefaultAsyncHttpxClient(trust_env=False, verify=False)
    async with serving.session(model, folder, **limits) as place, http:
        yield Client(place, anthropic.AsyncAnthropic(base_url=place.session.url, auth_token=KEY, http_client=http))


def test_text_and_tool_calls_whole_and_as_a_stream(serving: Serving) -> None:
    model = Scripted([ChatReply("Going up.", CALLS, prompt_tokens=7, completion_tokens=3)])

    async def main() -> None:
        async with client(serving, model) as at:
            whole = await at.create(tools=[ACT])
            async with at.sdk.messages.stream(
                model="m", max_tokens=50, messages=[{"role": "user", "content": "Hello."}]
            ) as stream:
                streamed = await stream.get_final_message()
        for found in (whole, streamed):
            assert [block.type for block in found.content] == ["text", "tool_use", "tool_use"]
            assert found.content[0].text == "Going up."
            assert (found.content[1].id, found.content[1].input) == ("cod000101", {"text": "K"})
            assert found.content[2].input == {}  # which the model wrote so badly that there is nothing to read
            assert (found.stop_reason, found.usage.input_tokens, found.usage.output_tokens) == ("tool_use", 7, 3)

    serving.run(main())


def test_a_request_of_claude_code_is_one_that_strict_chat_templates_take(serving: Serving, tmp_path: Path) -> None:
    """A system message in the middle, and all kinds of content."""
    model = Scripted([ChatReply("done", finish="length")])
    picture = {"type": "base64", "media_type": "image/png", "data": "iVBORw0K"}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "Notes."}, {"type": "text", "text": "Play."}]},
        {
            "role": "system",
            "content": [{"type": "text", "text": "It is Monday.", "cache_control": {"type": "ephemeral"}}],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "x"},
                {"type": "text", "text": "Up."},
                {"type": "tool_use", "id": "t1", "name": "mcp__world__act", "input": {"text": "K"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Go on."},
                {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "a wall"}]},
            ],
        },
        {"role": "user", "content": [{"type": "image", "source": picture}]},
    ]
    choice = {"type": "any"}
    tools = [ACT, {"type": "web_search_20250305", "name": "web_search"}]

    async def main() -> None:
        async with client(serving, model, tmp_path) as at:
            found = await at.create(
                system=[{"type": "text", "text": "You are an agent."}],
                messages=messages,
                tools=tools,
                tool_choice=choice,
                thinking={"type": "disabled"},
                metadata={"user_id": "somebody"},
            )
        assert found.stop_reason == "end_turn"

    serving.run(main())
    asked = model.asked[0]
    call = {"id": "t1", "type": "function", "function": {"name": "mcp__world__act", "arguments": '{"text": "K"}'}}
    assert asked.messages == [
        {"role": "system", "content": "You are an agent.\n\nIt is Monday."},
        {"role": "user", "content": "Notes.\nPlay."},
        {"role": "assistant", "content": "Up.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "t1", "content": "a wall"},
        {"role": "user", "content": "Go on."},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0K"}}]},
    ]
    assert asked.tool_names == ["mcp__world__act"]
    assert asked.tool_choice == "required"
    text = (tmp_path / "exchanges.jsonl").read_text()
    assert json.loads(text)["dialect"] == "anthropic"
    assert "somebody" not in text
    assert KEY not in text


def test_errors_come_with_their_kinds_and_are_not_tried_again(serving: Serving) -> None:
    replies = [EngineError("gone"), PromptTooLongError("the prompt has 9 tokens, the model reads 8")]

    async def main() -> None:
        async with client(serving, Scripted(replies)) as at:
            with pytest.raises(anthropic.InternalServerError, match="gone"):
                await at.create()
            with pytest.raises(anthropic.BadRequestError, match="the model reads 8"):
                await at.create()
            with pytest.raises(anthropic.BadRequestError, match="the role 'elf' is not known"):
                await at.create(messages=[{"role": "elf", "content": "Hello."}])
            assert at.place.session.calls == 2

    serving.run(main())


def test_a_slow_stream_pings_and_can_still_fail(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_PING_S", 0.01)
    model = Scripted([ChatReply("at last"), EngineError("gone")], wait_s=0.05)

    async def main() -> None:
        async with client(serving, model) as at:
            kinds = [event.type async for event in await at.create(stream=True)]
            assert kinds[0] == "message_start"
            assert kinds[-1] == "message_stop"
            with pytest.raises(anthropic.APIError, match="gone"):
                _ = [event async for event in await at.create(stream=True)]

    serving.run(main())


def test_count_tokens_asks_no_model(serving: Serving) -> None:
    model = Scripted([])

    async def main() -> None:
        async with client(serving, model) as at:
            messages: Any = [{"role": "user", "content": "four words are here " * 20}]
            assert 80 < (await at.sdk.messages.count_tokens(model="m", messages=messages)).input_tokens < 130
            assert at.place.session.calls == 0
            with pytest.raises(anthropic.NotFoundError):
                await at.sdk.with_options(base_url=f"{serving.proxy.url}/s/guess").messages.count_tokens(
                    model="m", messages=messages
                )

    serving.run(main())
    assert not model.asked
