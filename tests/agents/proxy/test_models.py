"""Models behind the proxy that read what the agent wrote: an engine with its chat template, and a server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from codctl.agents.proxy.endpoint_model import EndpointModel
from codctl.agents.proxy.engine_model import EngineModel
from codctl.agents.proxy.models import ChatReply, ChatRequest, ToolCall
from codctl.agents.proxy.tool_text import read_calls
from codctl.cod.conversation import TemplateChat
from codctl.cod.engine import EngineError, Generation, RequestTag, Sampling
from codctl.engines.openai.engine import EndpointSettings, open_endpoint
from codctl.engines.provider import OpenEngine
from codctl.engines.transformers_engine import TransformersEngine
from tests.agents.proxy.serving import Serving
from tests.chat_families import FAMILIES, chat_of
from tests.engines.openai.fake_server import Answer, FakeServer, refuses, says
from tests.engines.openai.fake_server import serving as serving_fake

GREEDY = Sampling(40, 1e-4)
ACT = {
    "type": "function",
    "function": {
        "name": "world__act",
        "description": "Play one action.",
        "parameters": {"type": "object", "properties": {"text": {"type": "string"}, "times": {"type": "integer"}}},
    },
}
TURNS: list[Any] = [
    {"role": "system", "content": "You are an agent."},
    {"role": "user", "content": [{"type": "text", "text": "Play <|im_end|>."}, {"type": "image_url", "image_url": {}}]},
    {
        "role": "assistant",
        "content": "Up.",
        "tool_calls": [ToolCall("cod1", "world__act", '{"text": "K"}').as_message()],
    },
    {"role": "tool", "tool_call_id": "cod1", "content": "a wall"},
    {"role": "user", "content": "Go on."},
]


@dataclass
class Written(OpenEngine):
    """An engine that writes what it is given."""

    chat: TemplateChat
    text: str
    prompts: list[str] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)

    async def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, seed: int, tag: RequestTag
    ) -> Generation:
        self.prompts.append(self.chat.show(prompt_ids))
        self.seeds.append(seed)
        ids = [*self.chat.encode(self.text), self.chat.stop_ids[0]][: sampling.max_new_tokens]
        return Generation(ids, [-0.5] * len(ids), "stop" if len(ids) < sampling.max_new_tokens else "length", 3)


def ask(model: EngineModel | EndpointModel, **more: Any) -> ChatReply:
    return asyncio.run(model.chat(ChatRequest(TURNS, [ACT], **more)))


def behind(name: str, text: str) -> tuple[EngineModel, Written]:
    chat = chat_of(next(family for family in FAMILIES if family.name == name))
    engine = Written(chat, text)
    return EngineModel(engine, chat, Sampling(200), seed=1, deadline_s=30), engine


CALL = '<tool_call>\n{"name": "world__act", "arguments": {"text": "K"}}\n</tool_call>'
TAGS = (
    "<tool_call>\n<function=world__act>\n<parameter=text>\n3\n</parameter>\n<parameter=times>\n2\n</parameter>\n"
    "</function>\n</tool_call>"
)


@pytest.mark.parametrize(
    ("name", "written", "shown"),
    [
        ("Qwen3", CALL, CALL),  # by its template
        ("Qwen3.6", TAGS, "<function=world__act>\n<parameter=text>\nK\n</parameter>"),
        ("SmolLM2", CALL, CALL),  # whose template leaves tools out
        ("Llama 3.1", CALL, CALL),  # whose template has a form of its own
    ],
)
def test_tools_calls_and_results_are_in_the_prompt_and_calls_are_read_back(name: str, written: str, shown: str) -> None:
    model, engine = behind(name, f"I go up.\n{written}")
    reply = ask(model)
    (prompt,) = engine.prompts
    for text in ("You are an agent.", "Play one action.", "Play ", "[image_url]", "Up.", shown, "a wall", "Go on."):
        assert text in prompt, text
    assert ("Play <|im_end|>" in prompt) == (name == "Llama 3.1")  # no special token there
    assert reply.text == "I go up."
    assert reply.written == f"I go up.\n{written}"
    ((call,), given) = reply.tool_calls, {"text": "3", "times": 2} if written == TAGS else {"text": "K"}
    assert (call.id, call.name, call.given) == ("call00001", "world__act", given)
    assert reply.tokens is not None
    assert (reply.prompt_tokens, reply.completion_tokens) == (len(reply.tokens.prompt_ids), len(reply.tokens.ids))
    assert list(reply.tokens.logprobs) == [-0.5] * len(reply.tokens.ids)


def test_each_reply_has_a_seed_of_its_own_and_the_limit_is_the_lower_one() -> None:
    model, engine = behind("Qwen3", "word " * 100)
    assert [ask(model, max_tokens=limit).completion_tokens for limit in (5, None, 900)] == [5, 200, 200]
    assert ask(model, max_tokens=5).finish == "length"
    assert len(set(engine.seeds)) == 4


def test_a_reply_ends_before_the_texts_that_the_agent_names() -> None:
    model, _ = behind("Qwen3", "Up. Human: and now? Up.")
    assert ask(model, stop=["\nEnd", "Human:"]).text == "Up. "


def test_a_request_that_the_template_refuses_is_rejected() -> None:
    model, _ = behind("Llama 2", "hello")  # wants user and assistant in turn
    with pytest.raises(EngineError) as caught:
        asyncio.run(model.chat(ChatRequest([{"role": "assistant", "content": "hello"}])))
    assert caught.value.kind == "rejected"


def test_a_real_engine_gives_the_tokens_that_it_was_asked_with(
    serving: Serving, tmp_path: Path, model: Any, tokenizer: Any
) -> None:
    chat = TemplateChat(tokenizer)
    engine = TransformersEngine(model, pad_id=0, max_tokens=2048)

    async def main() -> None:
        asked = EngineModel(engine, chat, GREEDY, seed=1, deadline_s=30)
        async with serving.session(asked, tmp_path) as place:
            await place.create(max_tokens=8)
            await place.create(max_tokens=8)

    serving.run(main())
    first, second = (json.loads(line)["reply"] for line in (tmp_path / "exchanges.jsonl").read_text().splitlines())
    assert first["tokens"]["prompt_ids"] == chat.open([{"role": "user", "content": "Hello."}])
    assert first["tokens"] == second["tokens"]  # greedy
    assert len(first["tokens"]["ids"]) == len(first["tokens"]["logprobs"]) > 0


@pytest.mark.parametrize(
    ("written", "text", "calls"),
    [
        ("no call", "no call", []),
        (f"{CALL}\n{CALL}", "", [("world__act", {"text": "K"})] * 2),
        ('<tool_call>{"name": "a", "arguments": "{\\"b\\": 1}"}', "", [("a", {"b": 1})]),  # cut before its end
        ('<tool_call>{"name": "a"}</tool_call> ok', "ok", [("a", {})]),
        ("<tool_call>{</tool_call>", "<tool_call>{</tool_call>", []),
        ('<tool_call>{"name": 3}</tool_call>', '<tool_call>{"name": 3}</tool_call>', []),
        ("<tool_call><function=a>\n</function></tool_call>", "", [("a", {})]),
    ],
)
def test_reading_calls(written: str, text: str, calls: list[Any]) -> None:
    rest, found = read_calls(written, 1)
    assert (rest, [(one.name, one.given) for one in found]) == (text, calls)
    assert len({one.id for one in found}) == len(found)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving_fake() as fake:
        yield fake


def at(server: FakeServer) -> EndpointModel:
    engine, _ = open_endpoint(EndpointSettings(server.url, "qwen-7b", backoff_s=0.01, attempts=2))
    return EndpointModel(engine, Sampling(100, 0.7), seed=1)


def test_a_server_gets_the_request_as_it_is_with_the_sampling_pinned(server: FakeServer) -> None:
    reply = ask(at(server), tool_choice="required", asked={"temperature": 1.9, "response_format": {"type": "text"}})
    (body,) = server.bodies
    assert body["messages"] == TURNS
    assert (body["tools"], body["tool_choice"], body["response_format"]) == ([ACT], "required", {"type": "text"})
    assert (body["temperature"], body["max_tokens"], body["model"]) == (0.7, 100, "qwen-7b")
    assert (reply.text, reply.reasoning, reply.prompt_tokens, reply.tokens) == ("yes", "hm", 10, None)


def test_calls_that_the_server_reads_and_those_that_it_leaves_in_the_text(server: FakeServer) -> None:
    given = Answer(
        body={"choices": [{"message": {"content": None, "tool_calls": [{**TURNS[2]["tool_calls"][0], "id": None}]}}]}
    )
    server.answers = [given, says(f"Up.\n{CALL}")]
    model = at(server)
    first, second = ask(model), ask(model)
    assert [(one.id, one.given) for one in (*first.tool_calls, *second.tool_calls)] == [
        ("call00001", {"text": "K"}),
        ("call00002", {"text": "K"}),
    ]
    assert (first.text, second.text) == ("", "Up.")


def test_token_ids_and_log_probs_are_kept_where_the_server_gives_them(server: FakeServer) -> None:
    content = [{"token": "y", "logprob": -0.25}, {"token": "", "logprob": -0.5}]
    choice = {"message": {"content": "y"}, "token_ids": [5, 2], "logprobs": {"content": content}}
    server.answers = [Answer(body={"choices": [choice], "prompt_token_ids": [1, 2, 3]}), says("yes")]
    model = at(server)
    reply = ask(model)
    assert (server.bodies[0]["logprobs"], server.bodies[0]["return_token_ids"]) == (True, True)
    assert reply.tokens is not None
    assert (reply.tokens.prompt_ids, reply.tokens.ids, reply.tokens.logprobs) == ([1, 2, 3], [5, 2], [-0.25, -0.5])
    assert ask(model).tokens is None


def test_a_server_that_refuses_to_give_tokens_is_asked_without(server: FakeServer) -> None:
    server.answers = [refuses(400, "Unknown parameter: 'return_token_ids'"), says("yes")]
    assert ask(at(server)).text == "yes"
    assert ["logprobs" in body for body in server.bodies] == [True, False]


def test_a_server_without_a_system_role_loses_no_call(server: FakeServer) -> None:
    server.answers = [refuses(400, "the system role is not supported"), says("yes")]
    ask(at(server))
    sent = server.bodies[1]["messages"]
    assert [one["role"] for one in sent] == ["user", "user", "assistant", "tool", "user"]
    assert sent[2]["tool_calls"] == TURNS[2]["tool_calls"]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(refuses(400, "too many tokens"), "rejected"), (Answer(0), "lost"), (says("", "content_filter"), "filtered")],
)
def test_what_is_no_fault_of_the_models_is_an_error(server: FakeServer, answer: Answer, kind: str) -> None:
    server.answers = [answer]
    with pytest.raises(EngineError) as caught:
        ask(at(server))
    assert caught.value.kind == kind
