"""The endpoint engine against a server on this machine that misbehaves in every way that servers do."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import socket
import time
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codctl.cod.conversation import Conversation
from codctl.cod.engine import EngineError, Generation, RequestTag, Sampling
from codctl.cod.rollout import Player, play_all
from codctl.cod.settings import RolloutSettings
from codctl.engines.openai.engine import EndpointSettings, MessageChat, OpenAIEngine, open_endpoint
from codctl.envs.registry import get_family
from codctl.errors import BackendError, UsageError
from codctl.outcomes import ReplyFault
from tests.engines.openai.fake_server import MODELS, Answer, FakeServer, refuses, says, serving

NOBODY = RequestTag("p", 0, 0, 0, "solve")
KEY = "sk-very-secret-123"
CHAT = MessageChat()
PROMPT = CHAT.open([{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}])
SAMPLING = Sampling(20, 0.5, CHAT.stop_ids)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving() as fake:
        yield fake


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def engine_at(url: str, **options: Any) -> OpenAIEngine:
    quick = {"deadline_s": 30.0, "backoff_s": 0.01, "attempts": 3}
    return open_endpoint(EndpointSettings(url, "qwen-7b", **{**quick, **options}))[0]


def ask(engine: OpenAIEngine, prompt: list[int] = PROMPT, seed: int = 7) -> Generation:
    return asyncio.run(engine.generate(prompt, SAMPLING, seed=seed, tag=NOBODY))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- what goes over the wire ------------------------------------------------------------------------------------------


def test_a_reader_sees_the_messages_under_their_roles() -> None:
    first = CHAT.open([{"role": "system", "content": "solve"}, {"role": "user", "content": "é\nup"}])
    reply = CHAT.encode("left")
    follow_up = CHAT.follow_up("wall", ended_by=None)
    assert CHAT.show(first) == "[system]\nsolve\n[user]\né\nup\n[assistant]\n"
    assert CHAT.show(reply) == "left"
    assert CHAT.show(follow_up) == "[user]\nwall\n[assistant]\n"
    assert CHAT.specials([*first, *reply]) == ["[assistant]", "[system]", "[user]"]


def test_a_request_carries_what_the_rollout_asked_for(server: FakeServer) -> None:
    ask(engine_at(server.url), seed=2**62 + 5)
    assert server.bodies == [
        {
            "model": "qwen-7b",
            "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}],
            "max_tokens": 20,
            "temperature": 0.5,
            "stream": False,
            "seed": 5,
        }
    ]
    assert "Authorization" not in server.headers[0]


def test_a_conversation_arrives_as_its_messages(server: FakeServer) -> None:
    engine = engine_at(server.url)
    server.answers = [says("one <answer>up</answer>"), says("two, cut", finish="length"), says("three")]
    conversation = Conversation(CHAT, [{"role": "system", "content": "rules ☃"}, {"role": "user", "content": "go\n"}])
    for observation in ("", "second\x00 🙂", None):
        reply = ask(engine, conversation.ids)
        conversation.add_reply(reply.token_ids, reply.logprobs)
        if observation is not None:
            conversation.add_observation(observation)
    assert [(m["role"], m["content"]) for m in server.bodies[-1]["messages"]] == [
        ("system", "rules ☃"),
        ("user", "go\n"),
        ("assistant", "one <answer>up</answer>"),
        ("user", ""),
        ("assistant", "two, cut"),
        ("user", "second\x00 🙂"),
    ]


@given(st.lists(st.tuples(st.text(), st.booleans(), st.text()), max_size=4), st.text(), st.text())
def test_ids_carry_any_messages(turns: list[tuple[str, bool, str]], system: str, user: str) -> None:
    said = [{"role": "system", "content": system}, {"role": "user", "content": user}]
    conversation = Conversation(CHAT, said)
    for reply, stopped, observation in turns:
        ids = [*CHAT.encode(reply), *(CHAT.stop_ids if stopped else ())]
        assert conversation.add_reply(ids, [0.0] * len(ids)) == reply
        conversation.add_observation(observation)
        said += [{"role": "assistant", "content": reply}, {"role": "user", "content": observation}]
    assert CHAT.messages(conversation.ids) == said


def test_half_a_surrogate_pair_does_not_stop_a_conversation() -> None:
    assert CHAT.decode(CHAT.encode("a\ud800b")) == "a?b"


@pytest.mark.parametrize(
    ("answer", "text", "finish", "stopped"),
    [
        (says("sure"), "sure", "stop", True),
        (says("su", finish="length"), "su", "length", False),
        (says(None, finish="length"), "", "length", False),  # all of the budget went into reasoning
        (says("", finish="content_filter"), "", "stop", True),
        (Answer(body=b'{"choices":[{"message":{"content":"a\\ud800b"}}]}'), "a?b", "stop", True),
        (says([{"type": "thinking", "thinking": []}, {"type": "text", "text": "part"}]), "part", "stop", True),
    ],
)
def test_a_reply_is_its_text_and_how_it_ended(
    server: FakeServer, answer: Answer, text: str, finish: str, stopped: bool
) -> None:
    server.answers = [answer]
    reply = ask(engine_at(server.url))
    assert (CHAT.decode(reply.token_ids), reply.finish_reason) == (text, finish)
    assert (reply.token_ids[-1:] == list(CHAT.stop_ids)) == stopped
    assert reply.logprobs == [0.0] * len(reply.token_ids)


@pytest.mark.parametrize(
    ("first", "then", "gone", "note"),
    [
        (
            "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead.",
            "max_completion_tokens",
            "max_tokens",
            "the server refuses max_tokens: max_completion_tokens is sent",
        ),
        (
            "Unknown field: seed",
            "max_tokens",
            "seed",
            "the server refuses seed: none is sent, replies cannot be repeated",
        ),
    ],
)
def test_a_parameter_that_the_server_refuses_is_written_otherwise_once(
    server: FakeServer, first: str, then: str, gone: str, note: str
) -> None:
    server.answer = lambda body: refuses(400, first) if gone in body else says()
    engine = engine_at(server.url)

    async def several() -> None:
        await asyncio.gather(*(engine.generate(PROMPT, SAMPLING, seed=i, tag=NOBODY) for i in range(4)))
        await engine.generate(PROMPT, SAMPLING, seed=9, tag=NOBODY)

    asyncio.run(several())
    assert server.bodies[-1][then] == 20
    assert gone not in server.bodies[-1]
    assert len(server.bodies) <= 4 + 4 + 1  # those in flight were refused too; nothing after them
    assert engine.stats["notes"] == [note]


# --- again ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "trouble",
    [
        refuses(500, "boom"),
        refuses(429, "slow down"),
        refuses(408, "late"),
        refuses(409, "lock"),
        Answer(0),
        refuses(403, "API rate limit exceeded"),
        refuses(400, "Overloaded"),
        Answer(body={"error": {"message": "Provider returned error", "code": "429"}}),
        Answer(body={"choices": [{"error": {"message": "gone", "code": 502}, "message": {"content": ""}}]}),
        Answer(200, says().body, torn=True),
        Answer(204, b""),
    ],
    ids=["500", "429", "408", "409", "dropped", "words-403", "words-400", "200-429", "choice-502", "torn", "204"],
)
def test_passing_trouble_is_tried_again(server: FakeServer, trouble: Answer) -> None:
    server.answers = [trouble, trouble, says()]
    engine = engine_at(server.url)
    assert CHAT.decode(ask(engine).token_ids) == "yes"
    assert (engine.stats["requests"], engine.stats["retries"], engine.stats["failed"]) == (3, 2, 0)


def test_a_slow_reply_is_tried_again(server: FakeServer) -> None:
    server.answers = [Answer(wait_s=2.0), says()]
    assert CHAT.decode(ask(engine_at(server.url, deadline_s=0.5, attempts=20)).token_ids) == "yes"


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_the_server_says_how_long_to_wait(server: FakeServer, form: str) -> None:
    when = "0.4" if form == "seconds" else formatdate(time.time() + 3, usegmt=True)
    server.answers = [refuses(429, "slow down", Retry_After=when), says()]
    ask(engine_at(server.url))
    assert server.times[1] - server.times[0] >= 0.4


@pytest.mark.parametrize(
    ("answers", "options", "message", "requests"),
    [
        ([refuses(500, "boom")], {}, "500 Internal Server Error: boom (after 3 tries)", 3),
        ([Answer(0)], {"attempts": 1}, "Server disconnected without sending a response.", 1),
        ([Answer(wait_s=3.0)], {"deadline_s": 1.0, "attempts": 1}, "no reply within 1 s", 1),
        ([refuses(429, "come back", Retry_After="3600")], {}, "429 Too Many Requests: come back", 1),
        ([refuses(400, "context too long")], {}, "400 Bad Request: context too long", 1),
        ([Answer(400, b"")], {}, "400 Bad Request: no reason given", 1),
        ([Answer(body={"choices": []})], {}, "expected a chat completion, got JSON that does not fit: choices: ", 3),
        ([Answer(body={"hello": 1})], {}, "expected a chat completion, got JSON that does not fit: choices: ", 1),
        (
            [Answer(body={"error": {"message": "upstream died"}})],
            {},
            "status 200 with an error: upstream died (after 3 tries)",
            3,
        ),
        (
            [Answer(body={"error": {"message": "no such account", "code": 402}})],
            {},
            "status 200 with an error: no such account",
            1,
        ),
        ([refuses(429, "You exceeded your current quota")], {}, "429 Too Many Requests: You exceeded your", 1),
        ([Answer(204, b"")], {}, "expected a chat completion, got an empty body (after 3 tries)", 3),
        ([Answer(body=b"data: {}")], {}, "expected a chat completion, got a stream of events", 1),
        ([Answer(body=b"<html>wait")], {}, "expected a chat completion, got an HTML page (after 3 tries)", 3),
        ([Answer(body=b"[" * 100_000)], {}, "expected a chat completion, got text that is not JSON: “[[", 3),
    ],
)
def test_trouble_that_stays_is_one_message(
    server: FakeServer, answers: list[Answer], options: dict[str, Any], message: str, requests: int
) -> None:
    server.answers = answers
    engine = engine_at(server.url, **options)
    with pytest.raises(EngineError) as caught:
        ask(engine)
    assert str(caught.value).startswith(f"{server.url}: {message}")
    assert "\n" not in str(caught.value)
    assert (len(server.bodies), engine.stats["failed"]) == (requests, 1)


def test_no_more_than_the_bound_are_in_flight(server: FakeServer) -> None:
    server.answers = [Answer(200, says().body, wait_s=0.05)]
    engine = engine_at(server.url, concurrency=3)

    async def many() -> None:
        await asyncio.gather(*(engine.generate(PROMPT, SAMPLING, seed=i, tag=NOBODY) for i in range(20)))

    asyncio.run(many())
    assert engine.stats["replies"] == 20
    assert 2 <= server.peak <= 3


def test_any_number_of_event_loops(server: FakeServer) -> None:
    engine = engine_at(server.url)
    for seed in range(3):
        ask(engine, seed=seed)

    async def closed_and_used_again() -> None:
        await engine.aclose()
        await engine.generate(PROMPT, SAMPLING, seed=3, tag=NOBODY)
        await engine.aclose()

    asyncio.run(closed_and_used_again())
    assert engine.stats["replies"] == 4


# --- before anything is played ----------------------------------------------------------------------------------------

UNKNOWN = refuses(404, "The model `qwen-7b` does not exist.")


@pytest.mark.parametrize(
    ("answers", "models", "message", "hint"),
    [
        (
            [UNKNOWN],
            Answer(body={"data": [{"id": "qwen-72b"}, {"id": "x"}]}),
            "unknown model 'qwen-7b'; did you mean \"qwen-72b\"? "
            "(served: qwen-72b, x; 404 Not Found: The model `qwen-7b` does not exist.)",
            "--model-name NAME",
        ),
        (
            [UNKNOWN],
            Answer(body={"data": [{"id": f"m{i}"} for i in range(12)]}),
            "unknown model 'qwen-7b' (served: m0, m1, m2, m3, m4, m5, m6, m7, m8, m9 and 2 more; "
            "404 Not Found: The model `qwen-7b` does not exist.)",
            "--model-name NAME",
        ),
        (
            [refuses(400, "temperature must be 1")],
            MODELS,
            "the server refuses the request (400 Bad Request: temperature must be 1)",
            "temperature=1",
        ),
        (
            [Answer(404, b"nope")],
            Answer(404, b"nope"),
            "no chat is served here (404 Not Found: nope)",
            "correct --endpoint: it is the part before /chat/completions",
        ),
        (
            [Answer(body=b"<!DOCTYPE html><html>hello")],
            Answer(body=b"<!DOCTYPE html><html>hello"),
            "the server does not speak the OpenAI chat format: expected a chat completion, got an HTML page",
            "correct --endpoint: it is the part before /chat/completions",
        ),
        (
            [Answer(body={"hello": 1})],
            MODELS,
            "the server sends no usable reply: "
            "expected a chat completion, got JSON that does not fit: choices: Field required",
            "look at the server's settings and its log",
        ),
        (
            [Answer(503, b"<html>down</html>")],
            MODELS,
            "the server is not ready: 503 Service Unavailable: an HTML page (after 3 tries)",
            "try again later",
        ),
        (
            [Answer(0)],
            MODELS,
            "no server answers: Server disconnected without sending a response.",
            "start the server, or correct --endpoint",
        ),
        (
            [Answer(wait_s=3.0)],
            MODELS,
            "no reply within 1 s",
            "try again when the server has loaded its model and is idle, or raise --deadline",
        ),
        (
            [refuses(401, "who are you")],
            MODELS,
            "the server wants a key; over plain http none is sent unless its variable is named "
            "(401 Unauthorized: who are you)",
            "--api-key-env OPENAI_API_KEY",
        ),
        (
            [Answer(308, b"", {"Location": "https://example.org"})],
            MODELS,
            "the server refuses the request (308 Permanent Redirect: no reason given)",
            "correct the model's name or the setting that it complains of",
        ),
    ],
)
def test_the_probe_says_what_is_wrong(
    server: FakeServer, answers: list[Answer], models: Answer, message: str, hint: str
) -> None:
    server.answers, server.models = answers, models
    with pytest.raises(BackendError) as caught:
        asyncio.run(engine_at(server.url, deadline_s=1.0 if answers[0].wait_s else 30.0).probe())
    error = caught.value
    assert (error.message, error.hint, error.where, error.exit_code) == (message, hint, server.url, 7)


def test_a_url_without_its_version(server: FakeServer) -> None:
    url = server.url.removesuffix("/v1")
    with pytest.raises(BackendError, match=r"no chat is served here \(404 Not Found: Not Found\)") as caught:
        asyncio.run(engine_at(url + "/").probe())
    assert caught.value.hint == f"--endpoint {server.url}"


def test_the_address_of_the_chat_itself_is_taken_too(server: FakeServer) -> None:
    asyncio.run(engine_at(server.url + "/chat/completions").probe())
    assert len(server.bodies) == 1


def test_nobody_listens() -> None:
    started = time.monotonic()
    with pytest.raises(BackendError, match="no server answers: All connection attempts failed"):
        asyncio.run(engine_at(f"http://127.0.0.1:{free_port()}/v1", backoff_s=60.0, deadline_s=300.0).probe())
    assert time.monotonic() - started < 60  # less than a single pause: nobody waits for a server that is not there


def test_the_probe_learns_what_the_server_refuses(server: FakeServer) -> None:
    server.answer = lambda body: refuses(400, "no seed please") if "seed" in body else says()
    engine = engine_at(server.url)
    asyncio.run(engine.probe(Sampling(300, 0.3)))
    ask(engine)
    assert [("seed" in body, body["temperature"], body["max_tokens"]) for body in server.bodies] == [
        (True, 0.3, 300),
        (False, 0.3, 300),
        (False, 0.5, 20),
    ]
    assert [message["role"] for message in server.bodies[0]["messages"]] == ["system", "user", "assistant", "user"]


@pytest.mark.parametrize(
    "words",
    [
        "System role not supported",
        "Conversation roles must alternate user/assistant/user/assistant/...",
        "Only user and assistant roles are supported!",
        '[{"loc": ["messages", 0, "role"], "msg": "Input should be \'user\' or \'assistant\'"}]',
    ],
)
@pytest.mark.parametrize("status", [400, 422, 500, 200])
def test_a_server_without_the_system_role_gets_its_text_from_the_user(
    server: FakeServer, words: str, status: int
) -> None:
    refusal = refuses(status, words)
    server.answer = lambda body: refusal if body["messages"][0]["role"] == "system" else says()
    engine = engine_at(server.url)
    asyncio.run(engine.probe())
    ask(engine)
    assert server.bodies[-1]["messages"] == [{"role": "user", "content": "be brief\n\nhello"}]
    assert [message["role"] for message in server.bodies[1]["messages"]] == ["user", "assistant", "user"]
    assert engine.stats["notes"] == ["the server refuses the system role: its text is sent before the first user text"]
    assert engine.stats["requests"] == 3


@pytest.mark.parametrize(
    ("message", "finish", "fault"),
    [
        ({"content": "fine"}, "stop", None),
        ({"content": "fine"}, "length", ReplyFault("cut")),
        ({"content": None, "reasoning_content": "hm"}, "length", ReplyFault("cut")),
        ({"content": "", "reasoning": "hm"}, "stop", ReplyFault("reasoning")),
        ({"content": " \n"}, "stop", ReplyFault("empty")),
        ({}, None, ReplyFault("empty")),
        ({"content": "par"}, "content_filter", ReplyFault("filtered")),
        ({"content": None, "refusal": "I\x1b[1m will\nnot"}, "stop", ReplyFault("refusal", r"I\x1b[1m will not")),
        ({"tool_calls": [{"function": {"name": "search"}}]}, "tool_calls", ReplyFault("tool_call", "search")),
        ({"content": "", "function_call": {"name": "f" * 999}}, "stop", ReplyFault("tool_call", "f" * 299 + "…")),
        ({"content": "fine", "tool_calls": []}, "stop", None),
    ],
)
def test_what_was_wrong_with_a_reply(
    server: FakeServer, message: dict[str, Any], finish: str | None, fault: ReplyFault | None
) -> None:
    server.answers = [Answer(body={"choices": [{"message": message, "finish_reason": finish}]})]
    assert ask(engine_at(server.url)).fault == fault


# --- the key ----------------------------------------------------------------------------------------------------------


def test_the_key_is_sent_and_shown_nowhere(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MY_KEY", KEY + "\n")
    caplog.set_level(logging.DEBUG)
    server.answer = lambda body: refuses(401, f"Incorrect key: Bearer {KEY}.")
    settings = EndpointSettings(server.url, "qwen-7b", api_key_env="MY_KEY", attempts=1)
    engine, _ = open_endpoint(settings)
    with pytest.raises(BackendError) as fatal:
        asyncio.run(engine.probe())
    with pytest.raises(EngineError) as passing:
        ask(engine)
    assert [headers["Authorization"] for headers in server.headers] == [f"Bearer {KEY}"] * 2
    assert fatal.value.message == (
        "the server refuses the key in MY_KEY (401 Unauthorized: Incorrect key: Bearer ***.)"
    )
    server.answer = lambda body: Answer(body={"error": {"message": f"Bearer {KEY} is no key", "code": 401}})
    with pytest.raises(EngineError, match=r"Bearer \*\*\* is no key"):
        ask(engine)
    chain = [fatal.value, passing.value, fatal.value.__cause__, passing.value.__cause__]
    shown = [caplog.text, repr(settings), str(engine.stats), repr(engine), *map(repr, chain), *map(str, chain)]
    shown += [str(vars(error)) for error in chain if error]
    assert KEY not in " ".join(shown)


@pytest.mark.parametrize(
    ("url", "named", "env"),
    [
        ("https://api.example.org/v1", None, "OPENAI_API_KEY"),
        ("https://api.example.org/v1", "MY_KEY", "MY_KEY"),
        ("http://10.1.2.3:8000/v1", None, ""),
        ("http://10.1.2.3:8000/v1", "MY_KEY", "MY_KEY"),
        ("http://localhost:8000/v1", None, ""),
    ],
)
def test_a_key_goes_in_clear_only_where_it_was_named(url: str, named: str | None, env: str) -> None:
    assert EndpointSettings(url, "m", api_key_env=named).key_env == env


def test_a_key_that_is_missing_is_named_when_the_server_asks(server: FakeServer) -> None:
    server.answers = [refuses(401, "no key")]
    engine = engine_at(server.url, api_key_env="MY_KEY")
    with pytest.raises(BackendError) as caught:
        asyncio.run(engine.probe())
    assert caught.value.message == "the server wants a key and MY_KEY is not set (401 Unauthorized: no key)"
    assert caught.value.hint == "export MY_KEY=KEY"


def test_a_key_that_no_header_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-“secret”")
    with pytest.raises(UsageError, match="the key in MY_KEY holds characters that no key has") as caught:
        engine_at("http://localhost:8000/v1", api_key_env="MY_KEY")
    assert "secret" not in str(vars(caught.value))


# --- settings, counts, whole packs ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"base_url": "localhost:8000/v1"},
            "expected an endpoint like http://localhost:8000/v1, got 'localhost:8000/v1'",
        ),
        ({"base_url": "http://[::1/v1"}, "expected an endpoint like http://localhost:8000/v1, got 'http://[::1/v1'"),
        ({"base_url": "http://h:99999/v1"}, "got 'http://h:99999/v1'"),
        ({"base_url": "http://me:pw@host/v1"}, "an endpoint's URL holds no user, password, query or fragment"),
        ({"base_url": "https://host/v1?key=abc"}, "an endpoint's URL holds no user, password, query or fragment"),
        ({"model": ""}, "the endpoint needs the name of a model"),
        ({"concurrency": 0}, "concurrency must be at least 1, got 0"),
        ({"attempts": 0}, "attempts must be at least 1, got 0"),
        ({"price_prompt": -1.0}, "price_prompt must be at least 0, got -1.0"),
        ({"price_completion": math.nan}, "price_completion must be at least 0, got nan"),
        ({"deadline_s": 0.0}, "deadline_s must be above 0"),
    ],
)
def test_settings_that_cannot_be(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        EndpointSettings(**{"base_url": "http://h/v1", "model": "m", **change})
    assert message in caught.value.message
    assert "pw" not in str(vars(caught.value))
    assert "abc" not in str(vars(caught.value))


def test_tokens_and_cost_are_counted(server: FakeServer) -> None:
    server.answers = [
        says(),
        says("cut", finish="length"),
        Answer(body={**says().body, "usage": None}),
        refuses(400, "no"),
    ]
    engine = engine_at(server.url, price_prompt=2.0, price_completion=50.0)
    for _ in range(3):
        ask(engine)
    with pytest.raises(EngineError):
        ask(engine)
    assert engine.stats == {
        "requests": 4,
        "retries": 0,
        "replies": 3,
        "cut_short": 1,
        "failed": 1,
        "uncounted": 1,
        "prompt_tokens": 20,
        "completion_tokens": 6,
        "cost": pytest.approx((20 * 2 + 6 * 50) / 1e6),
        "notes": [],
    }
    assert "cost" not in engine_at(server.url).stats
    json.dumps(engine.stats)


def test_what_no_reply_counts_is_unknown(server: FakeServer) -> None:
    server.answers = [Answer(body={**says().body, "usage": None}), Answer(body={**says().body, "usage": "many"})]
    engine = engine_at(server.url, price_prompt=2.0)
    assert (engine.stats["prompt_tokens"], engine.stats["cost"]) == (0, 0)
    ask(engine)
    ask(engine)
    assert engine.stats["uncounted"] == 2
    assert [engine.stats[key] for key in ("prompt_tokens", "completion_tokens", "cost")] == [None] * 3


def test_packs_are_played_and_a_failed_reply_costs_one_episode(server: FakeServer) -> None:
    def answer(body: dict[str, Any]) -> Answer:
        if body["messages"][0]["content"].startswith("update"):
            return says("--- Start of updated hints ---\nmind the holes\n--- End of updated hints ---")
        return refuses(400, "too long") if "mind" in str(body) else says("<answer>up</answer>")

    server.answer = answer
    engine = engine_at(server.url)
    packs = [get_family("frozen_lake").pack("test", i, 2, "tiny") for i in range(2)]
    player = Player(engine, CHAT, RolloutSettings("compact", deadline_s=math.inf), seed=1)
    found = asyncio.run(play_all(player, packs, 1))
    for trajectory in found:
        first, update, second = trajectory.episodes
        assert (first.failed, first.replies[0]) == ("", "<answer>up</answer>")
        assert (update.failed, update.hints) == ("", "mind the holes")
        assert second.failed == "400 Bad Request: too long"
        assert second.fault == ReplyFault("rejected", "400 Bad Request: too long")
    assert engine.stats["failed"] == 2
