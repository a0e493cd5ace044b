"""The model proxy with the OpenAI SDK as its client."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest

from codctl.agents.proxy import server
from codctl.agents.proxy.models import ChatReply, Tokens, ToolCall
from codctl.cod.engine import EngineError, PromptTooLongError
from tests.agents.proxy.serving import KEY, Scripted, Serving

ACT = {"type": "function", "function": {"name": "world__act", "parameters": {"type": "object", "properties": {}}}}
CALL = ToolCall("cod000001", "world__act", '{"text": "K"}')


def test_a_reply_with_a_tool_call_whole_and_as_a_stream(serving: Serving) -> None:
    async def main() -> None:
        model = Scripted([ChatReply("Going up.", [CALL], prompt_tokens=7, completion_tokens=3)])
        async with serving.session(model) as place:
            whole = await place.create(tools=[ACT], max_tokens=50)
            message = whole.choices[0].message
            assert message.content == "Going up."
            assert message.tool_calls[0].function.arguments == '{"text": "K"}'
            assert (whole.choices[0].finish_reason, whole.usage.total_tokens) == ("tool_calls", 10)
            stream = await place.create(tools=[ACT], stream=True, stream_options={"include_usage": True})
            chunks = [chunk async for chunk in stream]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        calls = [call for chunk in chunks if chunk.choices for call in chunk.choices[0].delta.tool_calls or []]
        assert text == "Going up."
        assert [(call.id, call.function.name) for call in calls] == [("cod000001", "world__act")]
        assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "tool_calls"
        assert chunks[-1].usage.total_tokens == 10
        assert model.asked[0].tools == [ACT]
        assert model.asked[0].max_tokens == 50

    serving.run(main())


def test_a_cut_reply_is_no_cut_for_the_agent_and_one_in_the_record(serving: Serving, tmp_path: Path) -> None:
    async def main() -> None:
        async with serving.session(Scripted([ChatReply("The way is", finish="length")]), tmp_path) as place:
            assert (await place.create()).choices[0].finish_reason == "stop"

    serving.run(main())
    line = json.loads((tmp_path / "exchanges.jsonl").read_text())
    assert line["reply"]["finish"] == "length"


def test_what_each_request_repeats_is_held_once(serving: Serving, tmp_path: Path) -> None:
    tokens = Tokens([1, 2], [3], [-0.5])
    messages: list[Any] = [{"role": "user", "content": "Hello."}]

    async def main() -> None:
        async with serving.session(Scripted([ChatReply("yes", tokens=tokens)]), tmp_path) as place:
            await place.create(messages=messages)
            await place.create(messages=[*messages, {"role": "assistant", "content": "yes"}, *messages])
            first, second = place.session.exchanges
            assert first.request.messages[0] is second.request.messages[0]
            assert len(second.request.messages) == 3
            assert first.reply is not None
            assert first.reply.tokens is None

    serving.run(main())
    lines = [json.loads(line) for line in (tmp_path / "exchanges.jsonl").read_text().splitlines()]
    assert [len(line["request"]["messages"]) for line in lines] == [1, 3]
    assert lines[1]["reply"]["tokens"] == {"prompt_ids": [1, 2], "ids": [3], "logprobs": [-0.5]}


def test_after_its_calls_the_session_answers_a_text_itself(serving: Serving) -> None:
    async def main() -> None:
        async with serving.session(model := Scripted([ChatReply("", [CALL])]), max_calls=2) as place:
            replies = [(await place.create(tools=[ACT])).choices[0] for _ in range(4)]
            assert [one.finish_reason for one in replies] == ["tool_calls", "tool_calls", "stop", "stop"]
            assert "limit of model calls" in replies[2].message.content
            assert (len(model.asked), place.session.calls) == (2, 4)
            assert [one.capped for one in place.session.exchanges] == [False, False, True, True]

    serving.run(main())


@pytest.mark.parametrize("asked", [{}, {"max_tokens": 65_536}, {"max_completion_tokens": 65_536}, {"max_tokens": 9}])
def test_tokens_are_limited_whatever_the_agent_asks_for(serving: Serving, asked: dict[str, int]) -> None:
    async def main() -> None:
        async with serving.session(model := Scripted([ChatReply("yes")]), max_tokens=100) as place:
            await place.create(**asked)
            assert model.asked[0].max_tokens == min(100, *asked.values(), 100)

    serving.run(main())


def test_system_messages_in_the_middle_move_to_the_front_and_texts_become_one(serving: Serving) -> None:
    async def main() -> None:
        async with serving.session(model := Scripted([ChatReply("yes")])) as place:
            parts = [{"type": "text", "text": "Hello."}, {"type": "text", "text": "You."}]
            messages: list[Any] = [
                {"role": "developer", "content": "Be brief."},
                {"role": "user", "content": parts},
                {"role": "system", "content": "Today is Monday."},
                {"role": "assistant", "content": None, "tool_calls": [CALL.as_message()]},
                {"role": "tool", "tool_call_id": "cod000001", "content": "a wall"},
            ]
            await place.create(messages=messages)
            request = model.asked[0]
            assert [one["role"] for one in request.messages] == ["system", "user", "assistant", "tool"]
            assert request.messages[0]["content"] == "Be brief.\n\nToday is Monday."
            assert request.messages[1]["content"] == "Hello.\nYou."
            assert list(request.results()) == [("cod000001", "a wall")]

    serving.run(main())


def test_the_record_has_everything_but_keys_and_addresses(serving: Serving, tmp_path: Path) -> None:
    async def main() -> None:
        async with serving.session(Scripted([ChatReply("ünïcode \ud800")]), tmp_path) as place:
            await place.create(temperature=0.3, user="somebody@example.org", metadata={"account": "42"})
            assert place.session.exchanges[0].request.asked == {"temperature": 0.3}
            assert place.session.id not in (tmp_path / "exchanges.jsonl").read_text()

    serving.run(main())
    text = (tmp_path / "exchanges.jsonl").read_text()
    assert KEY not in text
    assert "somebody" not in text
    line = json.loads(text)
    assert (line["number"], line["dialect"], line["streamed"], line["error"]) == (1, "openai", False, "")
    assert line["request"]["messages"] == [{"role": "user", "content": "Hello."}]
    assert line["reply"]["text"] == "ünïcode ?"


def test_half_a_surrogate_pair_reaches_no_model(serving: Serving) -> None:
    async def main() -> None:
        async with serving.session(model := Scripted([ChatReply("yes")])) as place:
            body = b'{"messages": [{"role": "user", "content": "a \\uD800 b \\ud83d\\ude00"}]}'
            await place.http.post(f"{place.session.url}/v1/chat/completions", content=body)
            assert model.asked[0].text == "a ? b \N{GRINNING FACE}"

    serving.run(main())


def test_a_model_that_fails_is_asked_once_and_remembered(serving: Serving) -> None:
    async def main() -> None:
        async with serving.session(Scripted([EngineError("the engine is gone")])) as place:
            with pytest.raises(openai.InternalServerError, match="the engine is gone"):
                await place.create()  # the SDK tries again unless it is told not to
            assert place.session.fault is not None
            assert (place.session.calls, place.session.fault.kind) == (1, "lost")

    serving.run(main())


def test_a_request_that_comes_again_while_it_is_answered_waits_for_the_same_reply(serving: Serving) -> None:
    async def main() -> None:
        async with serving.session(model := Scripted([ChatReply("yes"), ChatReply("no")], wait_s=0.1)) as place:
            replies = await asyncio.gather(place.create(), place.create(), place.create(max_tokens=9))
            assert [one.choices[0].message.content for one in replies] == ["yes", "yes", "no"]
            assert (len(model.asked), place.session.calls) == (2, 3)

    serving.run(main())


def test_a_mistake_of_ours_is_a_failure_of_the_session(serving: Serving) -> None:
    async def main() -> None:
        async with serving.session(Scripted([])) as place:
            with pytest.raises(openai.InternalServerError, match="IndexError"):
                await place.create()
            assert place.session.fault is not None
            assert place.session.exchanges[0].error == "IndexError: list index out of range"

    serving.run(main())


def test_a_request_that_is_too_long_for_the_model_is_the_agents_to_mend(serving: Serving) -> None:
    async def main() -> None:
        async with serving.session(
            Scripted([PromptTooLongError("the prompt has 9 tokens, the model reads 8")])
        ) as place:
            with pytest.raises(openai.BadRequestError, match="the model reads 8"):
                await place.create()

    serving.run(main())


def test_a_slow_stream_is_kept_open_and_can_still_fail(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_PING_S", 0.01)

    async def main() -> None:
        async with serving.session(Scripted([ChatReply("at last"), EngineError("gone")], wait_s=0.1)) as place:
            body = {"messages": [{"role": "user", "content": "Hello."}], "stream": True}
            found = (await place.http.post(f"{place.session.url}/v1/chat/completions", json=body)).text
            assert found.count(": the model is writing\n\n") > 2
            assert "at last" in found
            with pytest.raises(openai.APIError, match="gone"):
                _ = [chunk async for chunk in await place.create(stream=True)]

    serving.run(main())


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"{", "the request is not JSON"),
        (b"[" * 100_000, "the request is not JSON"),
        (b"\xff", "the request is not JSON"),
        (b"[]", "the request is not a JSON object"),
        (b"{}", "messages: expected a list of objects"),
        (b'{"messages": []}', "messages: expected at least one"),
        (b'{"messages": [{"role": "elf"}]}', "messages: the role 'elf' is not known"),
        (b'{"messages": [{"role": "user", "content": 5}]}', "messages: content: expected a list of objects"),
        (b'{"messages": [{"role": "user", "content": [{"type": "text"}]}]}', "a part of type text has no text"),
        (
            b'{"messages": [{"role": "user", "content": ""}], "max_tokens": "9"}',
            "max_tokens: expected a number above 0",
        ),
        (b'{"messages": [{"role": "user", "content": ""}], "tools": [{}]}', "a tool has no function with a name"),
        (b'{"messages": [{"role": "user", "content": ""}], "stop": [1]}', "stop: expected a text or a list of texts"),
    ],
)
def test_what_is_no_request_is_refused_and_asks_no_model(serving: Serving, body: bytes, complaint: str) -> None:
    async def main() -> None:
        async with serving.session(model := Scripted([ChatReply("yes")])) as place:
            found = await place.http.post(f"{place.session.url}/v1/chat/completions", content=body)
            assert found.status_code == 400
            assert complaint in found.json()["error"]["message"]
            assert not model.asked

    serving.run(main())


def test_a_request_without_end_is_not_read_to_its_end(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_MOST_BYTES", 1 << 20)

    async def main() -> None:
        async with serving.session(model := Scripted([ChatReply("yes")])) as place:
            with pytest.raises(openai.APIStatusError, match="longer than 1 MiB"):
                await place.create(messages=[{"role": "user", "content": "a" * (1 << 20)}])
            assert not model.asked

    serving.run(main())


def test_sessions_that_are_unknown_or_closed_are_refused(serving: Serving) -> None:
    async def main() -> None:
        async with serving.session(model := Scripted([ChatReply("yes")], wait_s=30.0)) as place:
            waiting = asyncio.create_task(place.create())
            while not model.asked:
                await asyncio.sleep(0.01)
            place.session.close()
            with pytest.raises(openai.APIStatusError, match="the session is closed"):
                await waiting
            assert place.session.exchanges[0].error == "the session was closed before the reply"
            for url in (place.session.url, f"{serving.proxy.url}/s/", serving.proxy.url):
                with pytest.raises(openai.NotFoundError):
                    await place.client.with_options(base_url=f"{url}/v1").models.list()

    serving.run(main())


def test_probes_of_the_agents_are_answered(serving: Serving, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with serving.session(Scripted([]), name="demo", context_window=4096) as place:
            assert [(one.id, one.max_model_len) for one in (await place.client.models.list()).data] == [("demo", 4096)]
            assert (await place.client.models.retrieve("demo")).id == "demo"
            for path in ("/api/tags", "/api/v1/models", "/version", "/v1/props"):
                assert (await place.http.get(place.session.url + path)).status_code == 404
            assert (await place.http.head(place.session.url)).status_code == 200
            assert (await place.http.head(serving.proxy.url)).status_code == 200

    serving.run(main())
    assert not caplog.records


def test_it_listens_on_loopback_alone(serving: Serving) -> None:
    mine = [one.laddr for one in psutil.Process().net_connections() if one.status == "LISTEN"]
    assert [one.ip for one in mine if one.port == serving.proxy.port] == ["127.0.0.1"]
