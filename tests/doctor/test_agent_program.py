"""What doctor finds in a session of an agent program."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest

from codctl.agents.program import Outcome
from codctl.agents.proxy.models import ChatRequest
from codctl.agents.proxy.session import Exchange
from codctl.contexts.block import Block
from codctl.doctor import agent_program
from codctl.doctor.agent_program import Seen, findings_of, sample_block
from codctl.doctor.findings import Finding

BLOCK = sample_block()
SYSTEM = f"You are an agent.\n{BLOCK}\nBe good."
TOOLS = [{"type": "function", "function": {"name": f"mcp__world__{name}"}} for name in ("observe", "act")]


def request(system: str = SYSTEM, prompt: str = agent_program.PROMPT, results: Sequence[str] = ()) -> ChatRequest:
    told = [{"role": "tool", "tool_call_id": str(number), "content": text} for number, text in enumerate(results)]
    return ChatRequest([{"role": "system", "content": system}, {"role": "user", "content": prompt}, *told], TOOLS)


def exchange(asked: ChatRequest) -> Exchange:
    return Exchange(1, "openai", "model", True, asked, None, "", False, 0.1, "2026-11-28T12:00:00Z")


def seen(*requests: ChatRequest, actions: Sequence[str] = ("ok",), outcome: Outcome | None = None) -> Seen:
    exchanges = tuple(map(exchange, requests))
    return Seen(exchanges, tuple(actions), outcome or Outcome("ended", "Done."), 2.0, 100.0, "the last words")


GOOD = (request(), request(results=["One action is left.", agent_program.OVER]))


def found(session: Seen) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings_of(session, BLOCK)}


def test_a_session_as_it_should_be() -> None:
    findings = found(seen(*GOOD))
    assert {finding.status for finding in findings.values()} == {"ok"}
    assert findings["context"].message == "sample, revision 1, stands in it whole, in the system message"
    assert findings["tools"].message == "mcp__world__observe and mcp__world__act, and no others"


def test_a_request_for_a_title_comes_first() -> None:
    title = ChatRequest([{"role": "user", "content": "Write a title."}])
    assert {finding.status for finding in found(seen(title, *GOOD)).values()} == {"ok"}


@pytest.mark.parametrize(
    ("system", "said"),
    [
        ("You are an agent.", "the hints are not in the request"),
        (SYSTEM[: len(SYSTEM) // 2], "10 of their 24 lines"),
        (SYSTEM.replace(BLOCK.text.splitlines()[11] + "\n", "[…]\n"), "23 of their 24 lines"),
    ],
)
def test_hints_that_are_not_whole(system: str, said: str) -> None:
    finding = found(seen(request(system)))["context"]
    assert finding.status == "failed"
    assert said in finding.message


def test_a_task_that_is_cut() -> None:
    assert found(seen(request(prompt="This is a")))["request"].status == "failed"


@pytest.mark.parametrize(
    ("names", "status", "said"),
    [
        (("bash",), "failed", "it declares bash"),
        ((), "failed", "none at all"),
        (("world__observe", "world__act", "bash"), "warning", "beside those of the world it declares bash"),
    ],
)
def test_tools(names: Sequence[str], status: str, said: str) -> None:
    tools: list[Any] = [{"type": "function", "function": {"name": name}} for name in names]
    finding = found(seen(dataclasses.replace(request(), tools=tools)))["tools"]
    assert finding.status == status
    assert said in finding.message


def test_calls_that_do_not_arrive() -> None:
    assert "nothing was played" in found(seen(*GOOD, actions=()))["tool calls"].message
    assert "did not come back" in found(seen(GOOD[0]))["tool calls"].message
    assert "'of'" in found(seen(*GOOD, actions=["of"]))["tool calls"].message


def test_answers_that_the_program_wraps() -> None:
    wrapped = request(results=[f'<untrusted>{{"result": "{agent_program.OVER}"}}</untrusted>'])
    finding = found(seen(GOOD[0], wrapped))["tool calls"]
    assert finding.status == "ok"
    assert "wrapped" in finding.message


def test_a_program_that_asks_nothing() -> None:
    (finding,) = found(seen(outcome=Outcome("crashed", problem="no such model"))).values()
    assert finding.status == "failed"
    assert "ended without asking the model (2.0 s, 100 MB): no such model" in finding.message


def test_a_program_that_does_not_end() -> None:
    finding = found(seen(*GOOD, outcome=Outcome("timeout")))["session"]
    assert finding.status == "failed"
    assert "timeout after 2 calls" in finding.message


def test_hints_longer_than_its_memory() -> None:
    from codctl.agents.program import PROGRAMS

    finding = agent_program.memory_finding(PROGRAMS.get("hermes"), Block("lake", 1, "x" * 2_100))
    assert finding.status == "failed"
    assert "where 2,200 are read" in finding.message
