"""What doctor finds of a model server behind an agent program."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from codctl.agents.proxy.models import ChatRequest
from codctl.doctor.endpoint import examine
from codctl.doctor.findings import Finding
from tests.engines.openai.fake_server import Answer, FakeServer, refuses, serving

TOOL = {"type": "function", "function": {"name": "world__act", "parameters": {"type": "object"}}}
REQUEST = ChatRequest([{"role": "user", "content": "Play."}], [TOOL])
CALL = {"id": "1", "type": "function", "function": {"name": "world__act", "arguments": "{}"}}


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving() as server:
        server.models = Answer(body={"data": [{"id": "qwen", "max_model_len": 4_096}]})
        server.answer = answering()
        yield server


def answering(*, with_tools: int | None = 150, text: str = "", calls: Any = (CALL,)) -> Any:
    """A server whose prompts have 100 tokens without tools."""

    def answer(body: dict[str, Any]) -> Answer:
        tokens = with_tools if body.get("tools") else 100
        message = {"role": "assistant", "content": text, "tool_calls": list(calls)}
        usage = {} if tokens is None else {"usage": {"prompt_tokens": tokens, "completion_tokens": 1}}
        return Answer(body={"choices": [{"message": message, "finish_reason": "stop"}], **usage})

    return answer


def found(server: FakeServer, model: str | None = None, reply_tokens: int = 512) -> dict[str, Finding]:
    findings = asyncio.run(examine(server.url, model, None, REQUEST, reply_tokens))
    return {finding.name: finding for finding in findings}


def test_a_server_that_can_do_all(server: FakeServer) -> None:
    findings = found(server)
    assert {finding.status for finding in findings.values()} == {"ok"}
    assert findings["endpoint"].message == f"{server.url} serves qwen"
    assert findings["tools served"].message == "the tools take 50 tokens of the prompt"
    assert "150 tokens, a reply up to 512; the server holds 4,096" in findings["window"].message


def test_it_is_asked_what_the_program_asked(server: FakeServer) -> None:
    found(server)
    assert server.bodies[0]["messages"] == REQUEST.messages
    assert server.bodies[1]["tools"] == [TOOL]
    assert [message["role"] for message in server.bodies[2]["messages"]] == ["user", "system", "user"]


def test_tools_that_the_template_leaves_out(server: FakeServer) -> None:
    server.answer = answering(with_tools=100, text="I do not know.", calls=())
    findings = found(server)
    assert findings["tools served"].status == "failed"
    assert "--protocol answer" in findings["tools served"].command
    assert findings["tool call"].status == "warning"


def test_a_call_that_the_server_leaves_in_the_text(server: FakeServer) -> None:
    server.answer = answering(text='<tool_call>\n{"name": "world__act"}', calls=())
    assert found(server)["tool call"].status == "failed"
    assert "--tool-call-parser" in found(server)["tool call"].command


def test_a_server_that_refuses_tools(server: FakeServer) -> None:
    accepting = answering()
    server.answer = lambda body: refuses(400, '"auto" tool choice requires') if body.get("tools") else accepting(body)
    findings = found(server)
    assert findings["tools served"].status == "failed"
    assert '"auto" tool choice requires' in findings["tools served"].message
    assert "100 tokens" in findings["window"].message


def test_a_system_message_in_the_middle_that_is_refused(server: FakeServer) -> None:
    accepting = answering()
    server.answer = lambda body: (
        refuses(400, "System message must be at the beginning") if len(body["messages"]) == 3 else accepting(body)
    )
    finding = found(server)["system message"]
    assert finding.status == "ok"
    assert "codctl's proxy moves it to the front" in finding.message


def test_a_window_that_is_too_small(server: FakeServer) -> None:
    finding = found(server, reply_tokens=4_000)["window"]
    assert (finding.status, finding.command) == ("failed", "vllm serve … --max-model-len 8300")


def test_a_server_that_counts_nothing(server: FakeServer) -> None:
    server.models = Answer(body={"data": [{"id": "qwen"}]})
    findings = found(server)
    assert findings["window"].status == "warning"


def test_no_server() -> None:
    (finding,) = asyncio.run(examine("http://127.0.0.1:9/v1", "m", None, REQUEST, 1))
    assert finding.status == "failed"
    assert "no server answers" in finding.message


def test_a_model_that_is_not_served(server: FakeServer) -> None:
    server.answer = lambda body: refuses(404, "no such model")
    (finding,) = found(server, "quen").values()
    assert 'did you mean "qwen"' in finding.message


def test_a_server_that_does_not_say_what_it_serves(server: FakeServer) -> None:
    server.models = Answer(404, {"error": {"message": "Not Found"}})
    (finding,) = found(server).values()
    assert (finding.status, finding.command) == ("failed", "--model-name NAME")
    assert found(server, "qwen")["endpoint"].status == "ok"
