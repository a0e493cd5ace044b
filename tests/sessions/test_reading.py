"""Sessions that real agent programs left, in one form; and what is damaged, foreign or incomplete."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from codctl.agents.proxy.models import ChatReply, ChatRequest, Tokens, ToolCall
from codctl.agents.proxy.session import Exchange
from codctl.contexts.block import find_blocks
from codctl.errors import UsageError
from codctl.sessions.reading import READERS, read_sessions
from codctl.sessions.session import Session, Usage
from codctl.sessions.wrapped import peeled

from .conftest import SAMPLES, sample


def test_each_program_leaves_the_same_conversation(played: Session) -> None:
    assert played.source == played.agent
    assert played.ended == "ended"
    assert [(m.text.strip(), [c.arguments for c in m.calls]) for m in played.replies[:3]] == [
        ("", [{}]),
        ("I try a code.", [{"text": "Z"}]),
        ("", [{"text": "K"}]),
    ]
    results = [peeled(m.text) for m in played.messages if m.role == "tool"]
    assert results[0].startswith("Turn 1 of 8.")
    assert results[-1].startswith("The task is over.")
    called = [call.id for reply in played.replies for call in reply.calls]
    assert [m.call_id for m in played.messages if m.role == "tool"] == called
    assert played.counted.completion_tokens == 80
    assert (played.tokens, played.reward) == ("none", None)


def test_what_is_known_of_each_program() -> None:
    known = {name: sample(name) for name in ("claude-code", "hermes", "openclaw", "qwenpaw")}
    assert {name: one.version for name, one in known.items()} == {
        "claude-code": "2.1.332",
        "hermes": "",
        "openclaw": "2026.9.6",
        "qwenpaw": "2.2.2.post1",
    }
    assert {name: [m.role for m in one.messages[:2]] for name, one in known.items()} == {
        "claude-code": ["assistant", "tool"],
        "hermes": ["system", "user"],
        "openclaw": ["system", "user"],
        "qwenpaw": ["user", "assistant"],
    }
    assert "not what the user asked" in known["claude-code"].notes[0]
    assert known["claude-code"].counted == Usage(8549, 80)
    assert [tool["function"]["name"] for tool in known["openclaw"].tools] == ["world__act", "world__observe"]
    for name in ("hermes", "openclaw"):
        assert find_blocks(known[name].messages[0].text)[0].text == "Z moves up."


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (SAMPLES / f"{name}.jsonl").read_text().splitlines()]


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.mark.parametrize(
    ("changes", "ended", "problem"),
    [
        ({"subtype": "error_max_turns", "is_error": True}, "turn_cap", ""),
        ({"is_error": True, "result": "API Error: 500"}, "model_error", "API Error: 500"),  # subtype says "success"
    ],
)
def test_claude_code_says_how_it_ended(tmp_path: Path, changes: dict[str, Any], ended: str, problem: str) -> None:
    records = lines("claude-code")
    records[-1] |= changes
    (found,) = read_sessions(write(tmp_path / "stdout", records))
    assert (found.ended, found.problem) == (ended, problem)


def test_a_session_that_is_cut_is_read_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "stdout"
    path.write_text((SAMPLES / "claude-code.jsonl").read_text()[:-800])
    (found,) = read_sessions(path)
    assert found.ended == "unknown"
    assert found.notes[-1] == "the file's last line is torn"


def test_words_among_the_json_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("starting\n" + (SAMPLES / "qwenpaw.jsonl").read_text() + "done\n")
    (found,) = read_sessions(path)
    assert found.tool_calls == 3


def test_messages_of_sub_agents_are_left_out(tmp_path: Path) -> None:
    records = lines("claude-code")
    records.insert(3, {**records[1], "parent_tool_use_id": "toolu_1"})
    (found,) = read_sessions(write(tmp_path / "stdout", records))
    assert len(found.replies) == 4
    assert found.notes[-1] == "1 messages of its sub-agents are left out"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"a": 1}\n', "it looks like no form of sessions that is known"),
        ("", "it looks like no form of sessions that is known"),
        ('{"traceSchema": "openclaw-trajectory", "type": "user.message"}\n', "it is no trajectory of OpenClaw"),
        ('{"schema_version": "ATIF-v1.7", "agent": {}, "steps": []}', "it is no ATIF trajectory: 'name' is missing"),
        ('{"schema_version": "ATIF-v1.7", "agent": {"name": "a", "version": "1"}, "steps": []}', "no session in it"),
        ('{"a": 1}\n{"b": \n{"c": 1}\n', "line 2: it is not JSON"),
        ("[" * 100, "it is nested deeper"),
    ],
)
def test_what_is_no_session_is_refused_with_the_file(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "file"
    path.write_text(content)
    with pytest.raises(UsageError) as error:
        read_sessions(path)
    assert said in str(error.value) or (content.startswith("[") and "JSON" in str(error.value))
    assert error.value.where == str(path)


def test_files_that_are_not_there_and_unknown_forms_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_sessions(tmp_path / "none")
    with pytest.raises(UsageError, match="herms"):
        read_sessions(SAMPLES / "hermes.jsonl", "herms")


def test_every_form_is_known_by_its_first_record_alone() -> None:
    for name in ("claude-code", "hermes", "openclaw", "qwenpaw"):
        assert [one.NAME for one in READERS if one.fits(lines(name)[0])] in ([name], [])
        assert {one.NAME for one in READERS for record in lines(name) if one.fits(record)} == {name}


def exchange(number: int, messages: list[dict[str, Any]], reply: ChatReply | None, **more: Any) -> dict[str, Any]:
    about = {"error": "", "capped": False, "seconds": 0.1, "at": "2026-11-28T12:00:00+00:00"} | more
    return json.loads(
        json.dumps(Exchange(number, "openai", "m", False, ChatRequest(messages), reply, **about).as_json())
    )


def test_records_of_the_proxy_become_conversations(tmp_path: Path) -> None:
    call = ToolCall("c1", "world__act", '{"text": "Z"}')
    begin = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    going_on = [
        *begin,
        {"role": "assistant", "content": None, "tool_calls": [call.as_message()]},
        {"role": "tool", "tool_call_id": "c1", "content": "done"},
    ]
    tokens = Tokens([1, 2], [3, 4], [-0.5, -0.25])
    records = [
        exchange(1, begin, ChatReply(tool_calls=[call], written="<answer>Z</answer>", tokens=tokens)),
        exchange(2, [{"role": "user", "content": "A title, please"}], ChatReply("Lake")),
        exchange(3, going_on, None, error="no reply"),
        exchange(4, going_on, ChatReply("over", tokens=Tokens([1, 2, 3, 4, 5], [6], [0.0]))),
        exchange(5, [*going_on, {"role": "assistant", "content": "over"}], ChatReply("stop"), capped=True),
    ]
    folder = tmp_path / "own-0"
    folder.mkdir()
    main, title = read_sessions(write(folder / "exchanges.jsonl", records))
    assert (main.id, title.id) == ("own-0/1", "own-0/2")
    assert [m.role for m in main.messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert (main.ended, main.tokens, title.tokens) == ("turn_cap", "exact", "none")
    assert main.replies[0].written == "<answer>Z</answer>"
    assert main.replies[1].tokens is not None
    assert main.replies[1].tokens.ids == (6,)


def test_an_error_of_the_model_is_how_a_recorded_session_ended(tmp_path: Path) -> None:
    record = exchange(1, [{"role": "user", "content": "u"}], None, error="HTTP\n 500")
    (found,) = read_sessions(write(tmp_path / "exchanges.jsonl", [record]))
    assert (found.ended, found.problem) == ("model_error", "HTTP 500")
