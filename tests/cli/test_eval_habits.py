"""A served model with each of the habits that served models have: what the user reads."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from codctl.engines.openai.settings import EndpointSettings
from tests.engines.openai.fake_server import MODELS, Answer, FakeServer, refuses, says, serving

Body = dict[str, Any]
Habit = Callable[[Body, int, bool], Answer]  # a request, its number, whether it came before → what the server does

GOOD = "--- Start of updated hints ---\nK is up\n--- End of updated hints ---\n<answer>none of these</answer>"
ARGV = ["eval", "--model-name", "qwen-7b", "--limit", "4", "preset=tiny", "length=2", "arms=[own,none]"]
TABLE = r"arm +measure"
HTML = Answer(body=b"<!doctype html><html><body>Just a moment...</body></html>")


def message(finish: str = "stop", **said: Any) -> Answer:
    choice = {"message": {"role": "assistant", "content": None, **said}, "finish_reason": finish}
    return Answer(body={"choices": [choice], "usage": {"prompt_tokens": 10, "completion_tokens": 3}})


def reports(code: Any, words: str) -> Answer:
    """An error with status 200."""
    return Answer(body={"error": {"message": words, "code": code}})


def roles(body: Body) -> list[str]:
    return [message["role"] for message in body["messages"]]


def is_update(body: Body) -> bool:
    return "The agent's instructions" in body["messages"][-1]["content"]


def at_first(bad: Answer) -> Habit:
    """Every request but the trial has to be sent twice."""
    return lambda body, number, is_again: says(GOOD) if is_again or not number else bad


def no_system(body: Body, *_: Any) -> Answer:
    return refuses(400, "System role not supported") if "system" in roles(body) else says(GOOD)


def in_turn(body: Body, *_: Any) -> Answer:
    wanted = ["user", "assistant"] * len(roles(body))
    fits = roles(body) == wanted[: len(roles(body))]
    words = "Conversation roles must alternate user/assistant/user/assistant/..."
    return says(GOOD) if fits else refuses(500, words)


def slow_updates(body: Body, *_: Any) -> Answer:
    return Answer(200, says(GOOD).body, wait_s=2.0 if is_update(body) else 0.0)


@dataclass(frozen=True)
class Case:
    """A habit, and what stands on the terminal.

    Attributes:
        habit: Of the server.
        code: Exit code.
        lines: Regular expressions, each found in this order.
        absent: Found nowhere.
        options: Of the command.
        faults: What result.json counts; None: nothing was played and there is no such file.
    """

    habit: Habit
    code: int
    lines: tuple[str, ...]
    absent: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    faults: dict[str, int] | None = field(default_factory=dict)


SYSTEM_NOTE = r"note     the server refuses the system role: its text is sent before the first user text"
UNSCORED = r"error: .*nothing could be scored"
CASES = {
    "system role refused": Case(no_system, 0, (TABLE, SYSTEM_NOTE), ("warning",)),
    "roles must alternate": Case(in_turn, 0, (TABLE, SYSTEM_NOTE), ("warning",)),
    "empty content": Case(
        lambda *_: message(content=""),
        7,
        (
            r"warning: 20 of 20 replies were empty: check the chat template and the stop tokens",
            r"own +success +0\.00",
            r"own +empty +4 of 4 +4 of 4",
            UNSCORED + r": 20 of 20 replies were empty",
            r"→ once this is mended, add --fresh",
        ),
        faults={"empty": 20},
    ),
    "reasoning only": Case(
        lambda *_: message(reasoning_content="Let me think."),
        7,
        (
            r"warning: 20 of 20 replies held reasoning and no answer: raise solve_tokens \(512\) and "
            r"update_tokens \(1024\), or turn thinking off",
            UNSCORED,
        ),
        faults={"reasoning": 20},
    ),
    "cut while thinking": Case(
        lambda *_: message("length", reasoning_content="Let me think."),
        0,
        (
            r"warning: 20 of 20 replies were cut at the token limit: raise solve_tokens \(512\) and "
            r"update_tokens \(1024\); a model that thinks needs thousands",
            r"own +success +0\.00",
            r"own +cut +4 of 4 +4 of 4",
            r"none +cut +4 of 4 +4 of 4",
        ),
        faults={"cut": 20},
    ),
    "cut updates": Case(
        lambda body, *_: says("I think that", finish="length") if is_update(body) else says(GOOD),
        0,
        (
            r"warning: 4 of 20 replies were cut at the token limit: "
            r"raise update_tokens \(1024\); a model .*; all of them were updates, so the hints stayed as they were",
            TABLE,
        ),
        ("4 of 4",),
        faults={"cut": 4},
    ),
    "refusal": Case(
        lambda *_: message(refusal="I cannot \x1b[31mhelp\u202e with that."),
        0,
        (r"warning: 20 of 20 replies were a refusal \(“I cannot \\x1b\[31mhelp\\u202e with that\.”\)",),
        ("\x1b", "\u202e"),
        faults={"refusal": 20},
    ),
    "filtered": Case(
        lambda *_: message("content_filter", content=""),
        7,
        (
            r"warning: 16 of 16 episodes could not be played and are left out",
            r"warning: 20 of 20 replies were withheld by the server's content filter: relax the filter",
            r"own +filtered +4 of 4",
            UNSCORED,
        ),
        (r"success +0\.00",),
        faults={"filtered": 20},
    ),
    "tool calls": Case(
        lambda *_: message("tool_calls", tool_calls=[{"type": "function", "function": {"name": "search"}}]),
        7,
        (r"replies held a tool call instead of text \(“search”\): serve the model without tools", UNSCORED),
        faults={"tool_call": 20},
    ),
    "error in a 200": Case(
        lambda *_: reports(402, "Insufficient credits. Add more using https://example.org"),
        7,
        (
            r"error: http.*: the server refuses the request \(status 200 with an error: "
            r"Insufficient credits\. Add more",
            r"→ add credit to the account of this key",
        ),
        ("--endpoint",),
        faults=None,
    ),
    "error in a 200 for some": Case(
        lambda body, *_: reports(400, "this prompt is too long") if is_update(body) else says(GOOD),
        0,
        (
            r"warning: 4 of 20 requests were rejected \(“status 200 with an error: this prompt is too "
            r"long”\): change the server or the settings",
            TABLE,
            r"again    4 trajectories failed: once the server or the settings are changed, the same command plays",
        ),
        faults={"rejected": 4},
    ),
    "rate limit in a 200": Case(at_first(reports(429, "Provider returned error")), 0, (TABLE,), ("warning",)),
    "overloaded in a 400": Case(
        at_first(refuses(400, "the model is overloaded, try again later")), 0, (TABLE,), ("warning",)
    ),
    "HTML for some": Case(at_first(HTML), 0, (TABLE,), ("warning",)),
    "HTML after a while": Case(
        lambda body, number, _: says(GOOD) if number < 9 else HTML,
        7,
        (
            r"error: .*the server sends no usable reply: expected a chat completion, got an HTML page",
            r"→ try again later; what was played is kept: the same command continues",
        ),
        ("correct --endpoint",),
        faults=None,
    ),
    "no choices for some": Case(at_first(Answer(body={"choices": []})), 0, (TABLE,), ("warning",)),
    "half a surrogate pair": Case(
        lambda *_: Answer(body=b'{"choices":[{"message":{"content":"\\ud83d <answer>none</answer>"}}]}'),
        0,
        (TABLE, r"used     21 requests, – tokens read, – written \(21 replies came without a count\)"),
        ("warning: .* rejected",),
    ),
    "torn replies": Case(at_first(Answer(200, says(GOOD).body, torn=True)), 0, (TABLE,), ("warning",)),
    "streams": Case(
        lambda *_: Answer(body=b'data: {"choices":[{"delta":{"content":"yes"}}]}\n\ndata: [DONE]\n'),
        7,
        (r"got a stream of events, though none was asked for", r"→ look at the server's settings and its log"),
        ("--endpoint",),
        faults=None,
    ),
    "slow": Case(lambda *_: Answer(200, says(GOOD).body, wait_s=0.05), 0, (TABLE,), ("warning",)),
    "too slow for some": Case(
        slow_updates,
        0,
        (
            r"warning: 4 of 20 replies never came \(“no reply within 1 s \(after 2 tries\)”\)",
            TABLE,
            r"again    4 trajectories failed: the same command plays them again",
        ),
        options=("--deadline", "1"),
        faults={"lost": 4},
    ),
    "too slow": Case(
        lambda *_: Answer(200, says(GOOD).body, wait_s=1.0),
        7,
        (r"error: .*no reply within 0\.3 s", r"→ try again when the server .* is idle, or raise --deadline"),
        options=("--deadline", "0.3"),
        faults=None,
    ),
    "gone half way": Case(
        lambda body, number, _: says(GOOD) if number < 9 else Answer(0),
        7,
        (
            r"error: .*no server answers: Server disconnected",
            r"→ start the server again; what was played is kept: the same command continues",
        ),
        faults=None,
    ),
}


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving() as fake:
        yield fake


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = partial(EndpointSettings, attempts=2, backoff_s=0.0)
    monkeypatch.setattr("codctl.engines.openai.settings.EndpointSettings", quick)


@pytest.mark.parametrize("name", CASES)
def test_a_served_model_with_a_habit(cli: Any, server: FakeServer, home: Path, name: str) -> None:
    case = CASES[name]
    server.models = MODELS
    server.answer = lambda body: case.habit(body, len(server.bodies) - 1, server.bodies.count(body) > 1)
    argv = [*ARGV, "--endpoint", server.url, *case.options]
    outcome = cli(*argv)
    text = outcome.out + outcome.err
    assert outcome.code == case.code, text
    place = 0
    for line in case.lines:
        found = re.compile(line).search(text, place)
        assert found, f"{line!r} is not in what follows:\n{text[place:]}"
        place = found.end()
    for line in case.absent:
        assert not re.search(line, text), text
    results = list(home.glob("runs/evaluations/*/result.json"))
    assert bool(results) == (case.faults is not None)
    for path in results:
        assert json.loads(path.read_text())["replies"]["faults"] == case.faults
