"""OpenClaw: what is written for a session, and what is read from its output. Recorded from 2026.9.6."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from codctl.agents.openclaw import OpenClaw
from codctl.agents.program import AgentProgram, Places
from codctl.contexts.block import find_blocks
from tests.agents.places import BLOCK, MODEL, TASK, finished, places_in, there

RECORDED = Path(__file__).parent / "recorded"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AgentProgram:
    return there("openclaw", tmp_path, monkeypatch, "OpenClaw 2026.9.6 (eb377ac)")


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return places_in(tmp_path)


def config(places: Places) -> Any:
    return json.loads((places.home / ".openclaw" / "openclaw.json").read_text())


def test_it_gets_the_tools_of_the_world_and_no_others(program: AgentProgram, places: Places) -> None:
    program.prepare(places, MODEL, TASK)
    world = config(places)["mcp"]["servers"]["world"]
    assert (world["command"], world["args"]) == ("/usr/bin/python3", ["-I", "-S", "/tmp/relay.py", "/tmp/s"])
    assert config(places)["tools"] == {"toolSearch": False, "allow": ["bundle-mcp"]}


def test_without_a_server_nothing_is_allowed(program: AgentProgram, places: Places) -> None:
    program.prepare(places, MODEL, dataclasses.replace(TASK, server=None))
    assert config(places)["tools"]["allow"]  # an empty list would allow all
    assert not {"bundle-mcp", "read", "exec"} & set(config(places)["tools"]["allow"])


def test_for_its_memory_it_gets_files(program: AgentProgram, places: Places) -> None:
    program.prepare(places, MODEL, dataclasses.replace(TASK, server=None, tools="memory"))
    assert config(places)["tools"]["allow"] == ["read", "write", "edit"]


def test_all_its_tools(program: AgentProgram, places: Places) -> None:
    program.prepare(places, MODEL, dataclasses.replace(TASK, tools="all"))
    assert "allow" not in config(places)["tools"]


def test_it_knows_one_model(program: AgentProgram, places: Places) -> None:
    program.prepare(places, MODEL, TASK)
    models = config(places)["models"]
    assert models["mode"] == "replace"
    assert [(key, one["baseUrl"]) for key, one in models["providers"].items()] == [("codctl", f"{MODEL.url}/v1")]
    assert config(places)["agents"]["defaults"]["model"] == {"primary": "codctl/tiny"}


def test_it_asks_a_model_that_failed_no_second_time(program: AgentProgram, places: Places) -> None:
    program.prepare(places, MODEL, TASK)
    settings = json.loads((places.home / ".openclaw/agents/main/agent/settings.json").read_text())
    assert settings == {"retry": {"enabled": False, "provider": {"maxRetries": 0}}}


def test_the_command(program: AgentProgram, places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "a-secret")
    launch = program.prepare(places, MODEL, TASK)
    assert launch.stdin == "-- Play."  # not an argument: it may begin with a dash
    assert launch.argv[1:5] == ("agent", "exec", "--message-file", "-")
    assert launch.argv[launch.argv.index("--timeout") + 1] == "90"
    assert (places.home / ".openclaw").is_dir()  # it makes none
    assert set(launch.env) == {"PATH", "LANG", "HOME", "TMPDIR", "OPENCLAW_STATE_DIR"}


def test_the_hints_stand_in_its_memory(program: AgentProgram, places: Places) -> None:
    program.prepare(places, MODEL, TASK)
    assert find_blocks((places.work / "MEMORY.md").read_text()) == [BLOCK]
    with (places.work / "MEMORY.md").open("a") as file:
        file.write("Z moves left.\n")
    assert program.kept(places) == "K moves up.\nQ moves down.\nZ moves left."


def test_without_hints_nothing_stands_there(program: AgentProgram, places: Places) -> None:
    program.prepare(places, MODEL, dataclasses.replace(TASK, hints=""))
    assert not list(places.work.iterdir())
    assert program.kept(places) == ""


def test_a_session_that_ended(tmp_path: Path, places: Places) -> None:
    said = OpenClaw().outcome(places, finished(tmp_path, (RECORDED / "openclaw-ended.json").read_text()))
    assert (said.end, said.text, said.problem) == ("ended", "The task is over.", "")
    assert said.usage["assistantTurns"] == 3


def test_a_model_that_failed(tmp_path: Path, places: Places) -> None:
    output, log = ((RECORDED / f"openclaw-http-500.{kind}").read_text() for kind in ("json", "stderr"))
    said = OpenClaw().outcome(places, finished(tmp_path, output, log, 1))
    assert said.end == "model_error"
    assert "HTTP 500" in said.problem


def test_a_configuration_that_it_refuses(tmp_path: Path, places: Places) -> None:
    output = json.dumps({"ok": False, "status": "error", "final": "", "error": {"message": "bad\nconfig"}})
    said = OpenClaw().outcome(places, finished(tmp_path, output, "bad config", 1))
    assert (said.end, said.problem) == ("crashed", "bad config")


@pytest.mark.parametrize("output", ["", "null", "[1]", '{"ok": tr', "[" * 100_000])
def test_output_that_is_none(tmp_path: Path, places: Places, output: str) -> None:
    said = OpenClaw().outcome(places, finished(tmp_path, output, "Error: no\n", 3))
    assert (said.end, said.problem) == ("crashed", "it ended with exit code 3 and no result: Error: no")


def test_a_session_that_ran_out_of_time(tmp_path: Path, places: Places) -> None:
    assert OpenClaw().outcome(places, finished(tmp_path, code=None, late=True)).end == "timeout"
    timeout = finished(tmp_path, json.dumps({"status": "timeout"}), code=2)
    assert OpenClaw().outcome(places, timeout).end == "timeout"


def test_its_version(program: AgentProgram) -> None:
    assert program.version() == "2026.9.6"
