"""QwenPaw: what is written for a session, and what is read from its output. Recorded from 2.2.2.post1."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from codctl.agents import acp
from codctl.agents.program import AgentProgram, Launch, Places
from codctl.agents.qwenpaw import QwenPaw
from codctl.contexts.block import find_blocks
from tests.agents.places import BLOCK, MODEL, TASK, finished, places_in, there

RECORDED = Path(__file__).parent / "recorded"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AgentProgram:
    return there("qwenpaw", tmp_path, monkeypatch, "QwenPaw, version 2.2.2.post1")


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return places_in(tmp_path)


def workspace(places: Places) -> Path:
    return places.home / ".qwenpaw" / "workspaces" / "default"


def config(places: Places) -> Any:
    return json.loads((workspace(places) / "agent.json").read_text())


def tools(places: Places) -> list[str]:
    return [name for name, tool in config(places)["tools"]["builtin_tools"].items() if tool["enabled"]]


def recorded(name: str) -> str:
    return (RECORDED / f"qwenpaw-{name}.jsonl").read_text()


def test_it_keeps_none_of_its_tools(program: AgentProgram, places: Places) -> None:
    program.prepare(places, MODEL, TASK)
    assert tools(places) == []
    running = config(places)["running"]
    assert running["memory_manager_backend"] == "none"
    assert running["light_context_config"] == {"strategy": "native"}


def test_all_its_tools(program: AgentProgram, places: Places) -> None:
    program.prepare(places, MODEL, dataclasses.replace(TASK, tools="all"))
    assert "tools" not in config(places)
    assert "memory_manager_backend" not in config(places)["running"]


def test_it_has_one_model_and_asks_it_as_often_as_it_may(
    program: AgentProgram, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANYSEARCH_API_KEY", "a-secret")
    launch = program.prepare(places, MODEL, TASK)
    assert launch.argv[1:] == ("acp", "--runtime-provider", "openai-env")  # not `task`, which asks the internet
    assert launch.env["OPENAI_BASE_URL"] == f"{MODEL.url}/v1"
    assert launch.env["OPENAI_MODEL"] == "tiny"
    assert json.loads(launch.env["QWENPAW_MODEL_INFO_JSON"]) == {"max_input_tokens": 32_768, "max_output_tokens": 2_048}
    assert "a-secret" not in launch.env.values()
    assert config(places)["fallback_policy"] == {"enabled": False}
    assert config(places)["running"]["max_iters"] == 7 - 1
    assert not config(places)["running"]["llm_retry_enabled"]


def test_the_hints_stand_in_its_prompt(program: AgentProgram, places: Places) -> None:
    program.prepare(places, MODEL, TASK)
    assert find_blocks((workspace(places) / "COD_HINTS.md").read_text()) == [BLOCK]
    assert "COD_HINTS.md" in config(places)["system_prompt_files"]


def test_its_memory_is_a_file_where_it_then_works(program: AgentProgram, places: Places) -> None:
    launch = program.prepare(places, MODEL, dataclasses.replace(TASK, server=None, tools="memory"))
    assert launch.cwd == workspace(places)
    assert tools(places) == ["read_file", "write_file", "edit_file"]
    assert "MEMORY.md" in config(places)["system_prompt_files"]
    assert program.kept(places) == BLOCK.text
    (launch.cwd / "MEMORY.md").write_text("Z moves left.\n")
    assert program.kept(places) == "Z moves left."


def test_without_hints_it_has_no_memory(program: AgentProgram, places: Places) -> None:
    program.prepare(places, MODEL, dataclasses.replace(TASK, hints=""))
    assert [path.name for path in workspace(places).iterdir()] == ["agent.json"]
    assert program.kept(places) == ""


def test_a_session_that_ended(tmp_path: Path, places: Places) -> None:
    said = QwenPaw().outcome(places, finished(tmp_path, recorded("ended")))
    assert (said.end, said.text, said.problem) == ("ended", "The task is over.", "")
    assert said.usage["inputTokens"] == 13_554


def test_it_may_have_to_be_ended(tmp_path: Path, places: Places) -> None:
    assert QwenPaw().outcome(places, finished(tmp_path, recorded("ended"), code=143)).end == "ended"


def test_a_model_that_failed(tmp_path: Path, places: Places) -> None:
    said = QwenPaw().outcome(places, finished(tmp_path, recorded("http-500")))
    assert said.end == "model_error"
    assert said.problem.startswith("Error: QwenPaw failed to process the request.")


def test_a_session_that_reached_its_limit(tmp_path: Path, places: Places) -> None:
    said = QwenPaw().outcome(places, finished(tmp_path, recorded("turn-cap")))
    assert (said.end, said.text) == ("turn_cap", "The limit of model calls for this session is reached. Stop here.")


@pytest.mark.parametrize("output", ["", "null\n[1]\n", '{"jsonrpc": "2.0", "id": 2, "result": {}}\n', "[" * 100_000])
def test_a_session_without_an_answer(tmp_path: Path, places: Places, output: str) -> None:
    said = QwenPaw().outcome(places, finished(tmp_path, output, "Usage: qwenpaw acp\n", 2))
    assert (said.end, said.problem) == ("crashed", "it ended with exit code 2 and no answer: Usage: qwenpaw acp")


def test_a_session_that_ran_out_of_time(tmp_path: Path, places: Places) -> None:
    assert QwenPaw().outcome(places, finished(tmp_path, recorded("ended"), code=None, late=True)).end == "timeout"
    cancelled = json.dumps({"id": 3, "result": {"stopReason": "cancelled"}})
    assert QwenPaw().outcome(places, finished(tmp_path, cancelled)).end == "timeout"


def test_its_recorded_questions_are_answered(tmp_path: Path) -> None:
    """It names the world's server in a way of its own, which is known from the session and the server's name."""
    heard: list[dict[str, Any]] = []

    class Writer:
        def write(self, line: bytes) -> None:
            heard.append(json.loads(line))

        async def drain(self) -> None: ...

    async def lead() -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(recorded("ended").encode())
        reader.feed_eof()
        await acp.lead(reader, Writer(), Launch((), {}, tmp_path), TASK)  # type: ignore[arg-type]

    asyncio.run(lead())
    assert [one["method"] for one in heard if "method" in one] == ["initialize", "session/new", "session/prompt"]
    allowed = {"outcome": {"outcome": "selected", "optionId": "allow_once"}}
    assert [one["result"] for one in heard if "result" in one] == [allowed, allowed]


def test_its_version(program: AgentProgram) -> None:
    assert program.version() == "2.2.2.post1"
