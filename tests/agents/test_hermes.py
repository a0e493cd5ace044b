"""Hermes: what is written for a session, and what is read from its output. Recorded from 0.19.0."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import pytest

from codctl.agents.hermes import Hermes
from codctl.agents.program import AgentProgram, Launch, Places
from codctl.contexts.block import Block
from codctl.contexts.exporters.base import EXPORTERS, MemoryPlaces
from tests.agents.places import BLOCK, MODEL, TASK, finished, places_in, there

RECORDED = Path(__file__).parent / "recorded"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AgentProgram:
    return there("hermes", tmp_path, monkeypatch, "Hermes Agent v0.19.0 (2026.7.20)")


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return places_in(tmp_path)


def toolsets(launch: Launch) -> list[str]:
    return launch.argv[launch.argv.index("--toolsets") + 1].split(",")


def config(places: Places) -> Any:
    return json.loads((places.home / ".hermes" / "config.yaml").read_text())


def test_it_gets_the_tools_of_the_world_and_no_others(program: AgentProgram, places: Places) -> None:
    launch = program.prepare(places, MODEL, TASK)
    world = config(places)["mcp_servers"]["world"]
    assert (world["command"], world["args"]) == ("/usr/bin/python3", ["-I", "-S", "/tmp/relay.py", "/tmp/s"])
    assert toolsets(launch) == ["world"]
    assert toolsets(program.prepare(places, MODEL, dataclasses.replace(TASK, server=None))) == ["context_engine"]
    assert launch.argv[launch.argv.index("--max-turns") + 1] == "7"


def test_it_waits_for_the_tools(program: AgentProgram, places: Places) -> None:
    program.prepare(places, MODEL, TASK)
    assert config(places)["mcp_discovery_timeout"] == 90.0


def test_a_prompt_may_begin_with_a_dash(program: AgentProgram, places: Places) -> None:
    assert program.prepare(places, MODEL, TASK).argv[-1] == "--query=-- Play."


def test_nothing_happens_beside_the_session(program: AgentProgram, places: Places) -> None:
    program.prepare(places, MODEL, TASK)
    auxiliary = config(places)["auxiliary"]
    assert not auxiliary["background_review"]["enabled"]
    assert not auxiliary["title_generation"]["enabled"]
    assert config(places)["agent"] == {"max_turns": 7, "api_max_retries": 1, "environment_probe": False}
    assert config(places)["compression"] == {"enabled": False}


def test_it_believes_to_be_up_to_date(program: AgentProgram, places: Places) -> None:
    program.prepare(places, MODEL, TASK)
    looked = json.loads((places.home / ".hermes" / ".update_check").read_text())
    assert (looked["behind"], looked["rev"], looked["ver"]) == (0, None, Hermes.tried)
    assert 0 <= time.time() - looked["ts"] < 3_600


def test_the_environment_is_its_own(
    program: AgentProgram, places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "the-user's-own")
    monkeypatch.setenv("HERMES_HOME", "/home/of/the/user")
    launch = program.prepare(places, MODEL, TASK)
    assert "OPENAI_API_KEY" not in launch.env
    assert all(Path(launch.env[name]).is_relative_to(tmp_path) for name in ("HOME", "HERMES_HOME", "TMPDIR"))
    model = config(places)["model"]
    assert (model["base_url"], model["context_length"], model["max_tokens"]) == (f"{MODEL.url}/v1", 32_768, 2_048)


def test_hints_are_an_entry_of_its_memory(program: AgentProgram, places: Places) -> None:
    program.prepare(places, MODEL, TASK)
    where = MemoryPlaces(places.home, places.work)
    assert EXPORTERS.get("hermes").read(where) == BLOCK
    memory = EXPORTERS.get("hermes").file(where)
    assert memory is not None
    memory.write_text(f"{memory.read_text().strip()}\n§\nX moves left.")
    assert program.kept(places) == f"{BLOCK.text}\nX moves left."


def test_long_hints_leave_room_in_its_memory(program: AgentProgram, places: Places) -> None:
    hints = str(Block("lake", 4, "x" * 3_000))
    program.prepare(places, MODEL, dataclasses.replace(TASK, hints=hints))
    assert config(places)["memory"]["memory_char_limit"] == 2 * len(hints)


def test_its_own_tools(program: AgentProgram, places: Places) -> None:
    launch = program.prepare(places, MODEL, dataclasses.replace(TASK, tools="memory"))
    assert toolsets(launch) == ["world", "memory"]
    assert "--toolsets" not in program.prepare(places, MODEL, dataclasses.replace(TASK, tools="all")).argv


@pytest.mark.parametrize(
    ("recorded", "code", "end", "said"),
    [
        ("ended", 0, "ended", "Done."),
        ("http-500", 1, "model_error", "exit code 1: API call failed after 1 retries: HTTP 500: scripted"),
        ("turn-cap", 0, "turn_cap", "the maximum tool-iteration limit was reached"),
    ],
)
def test_outcomes_as_it_says_them(
    program: AgentProgram, places: Places, tmp_path: Path, recorded: str, code: int, end: str, said: str
) -> None:
    output, errors = ((RECORDED / f"hermes-{recorded}.{name}").read_text() for name in ("stdout", "stderr"))
    outcome = program.outcome(places, finished(tmp_path, output, errors, code))
    assert outcome.end == end
    assert said in outcome.text + outcome.problem
    assert outcome.usage["session_id"].startswith("20261128_")


def test_an_error_with_exit_code_0(program: AgentProgram, places: Places, tmp_path: Path) -> None:
    errors = "Error: the server has no such model\n\nsession_id: 1\n"
    outcome = program.outcome(places, finished(tmp_path, "", errors, 0))
    assert (outcome.end, outcome.problem) == ("model_error", "exit code 0: Error: the server has no such model")


@pytest.mark.parametrize("code", [0, 1])
def test_without_a_session_it_has_crashed(program: AgentProgram, places: Places, tmp_path: Path, code: int) -> None:
    assert program.outcome(places, finished(tmp_path, "", "Traceback …", code)).end == "crashed"


def test_a_deadline_is_no_crash(program: AgentProgram, places: Places, tmp_path: Path) -> None:
    assert program.outcome(places, finished(tmp_path, code=None, late=True)).end == "timeout"


def test_its_version(program: AgentProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert program.version() == Hermes.tried
    package = tmp_path / "venv" / "lib" / "python3.12" / "site-packages" / "hermes_agent-0.20.1.dist-info"
    package.mkdir(parents=True)
    (tmp_path / "venv" / "bin").mkdir()
    (tmp_path / "hermes").rename(tmp_path / "venv" / "bin" / "hermes")
    (tmp_path / "hermes").symlink_to(tmp_path / "venv" / "bin" / "hermes")
    assert program.version() == "0.20.1"
