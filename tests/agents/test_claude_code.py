"""Claude Code: what is written for a session, and what is read from its output. Recorded from 2.1.332."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from codctl.agents.claude_code import ClaudeCode
from codctl.agents.program import AgentProgram, Launch, Places
from codctl.contexts.exporters.base import EXPORTERS, MemoryPlaces
from codctl.errors import PreflightError
from tests.agents.places import BLOCK, MODEL, TASK, finished, places_in, there

RECORDED = Path(__file__).parent / "recorded"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AgentProgram:
    return there("claude-code", tmp_path, monkeypatch, "2.1.332 (Claude Code)")


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return places_in(tmp_path)


def option(launch: Launch, name: str) -> str:
    return launch.argv[launch.argv.index(name) + 1]


def test_it_gets_the_tools_of_the_world_and_no_others(program: AgentProgram, places: Places) -> None:
    launch = program.prepare(places, MODEL, TASK)
    servers = json.loads(Path(option(launch, "--mcp-config")).read_text())
    world = {"type": "stdio", "command": "/usr/bin/python3", "args": ["-I", "-S", "/tmp/relay.py", "/tmp/s"]}
    assert servers == {"mcpServers": {"world": world}}
    assert option(launch, "--tools") == ""
    assert option(launch, "--allowedTools") == "mcp__world"
    assert option(launch, "--permission-mode") == "dontAsk"
    assert "--strict-mcp-config" in launch.argv
    assert option(launch, "--max-turns") == "7"
    assert launch.env["CLAUDE_CODE_DISABLE_AUTO_MEMORY"] == "1"


def test_the_prompt_is_read_and_not_an_argument(program: AgentProgram, places: Places) -> None:
    launch = program.prepare(places, MODEL, TASK)
    assert launch.stdin == "-- Play."
    assert "-- Play." not in launch.argv


def test_the_environment_is_its_own(
    program: AgentProgram, places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "the-user's-own")
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", "/home/of/the/user")
    launch = program.prepare(places, MODEL, TASK)
    assert "ANTHROPIC_API_KEY" not in launch.env
    homes = ("HOME", "CLAUDE_CONFIG_DIR", "TMPDIR", "CLAUDE_CODE_TMPDIR")
    assert all(Path(launch.env[name]).is_relative_to(tmp_path) for name in homes)
    assert launch.env["ANTHROPIC_BASE_URL"] == MODEL.url
    assert launch.env["ANTHROPIC_AUTH_TOKEN"] == MODEL.key
    assert {launch.env[name] for name in launch.env if name.endswith("_MODEL")} == {"tiny"}
    assert launch.env["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] == "2048"
    assert launch.env["CLAUDE_CODE_MAX_RETRIES"] == "0"
    written = [path for path in (places.home, places.work) for path in path.rglob("*") if path.is_file()]
    assert not any(MODEL.key in path.read_text() for path in written)


def test_hints_are_rules_that_it_cannot_change(program: AgentProgram, places: Places) -> None:
    program.prepare(places, MODEL, TASK)
    where = MemoryPlaces(places.home, places.work)
    assert EXPORTERS.get("claude-code").read(where) == BLOCK
    assert program.kept(places) == ""


def test_in_an_update_hints_are_its_own_memory(program: AgentProgram, places: Places) -> None:
    launch = program.prepare(places, MODEL, dataclasses.replace(TASK, tools="memory", server=None))
    assert "CLAUDE_CODE_DISABLE_AUTO_MEMORY" not in launch.env
    assert option(launch, "--tools") == "Read,Edit,Write"
    assert "--allowedTools" not in launch.argv
    assert program.kept(places) == BLOCK.text
    memory = next(places.home.rglob("MEMORY.md"))
    memory.write_text(memory.read_text().replace("[/codctl hints]", "") + "X moves left.\n")
    assert program.kept(places) == f"{BLOCK.text}\n\nX moves left."
    (memory.parent / "doors.md").write_text("---\nname: doors\n---\nA door opens to the right.\n")
    assert program.kept(places).endswith("X moves left.\nA door opens to the right.")


def test_all_tools_are_allowed_without_asking(program: AgentProgram, places: Places) -> None:
    launch = program.prepare(places, MODEL, dataclasses.replace(TASK, tools="all"))
    assert option(launch, "--tools") == "default"
    assert {"Bash", "WebFetch", "mcp__world"} <= set(option(launch, "--allowedTools").split(","))
    assert "DISABLE_COMPACT" not in launch.env


@pytest.mark.parametrize(
    ("recorded", "code", "end", "said"),
    [
        ("ended", 0, "ended", "Done."),
        ("http-500", 1, "model_error", "API Error: 500 scripted."),
        ("turn-cap", 1, "turn_cap", "Reached maximum number of turns (3)"),
        ("cut-replies", 1, "model_error", "exceeded the 4096 output token maximum"),
    ],
)
def test_outcomes_as_it_says_them(
    program: AgentProgram, places: Places, tmp_path: Path, recorded: str, code: int, end: str, said: str
) -> None:
    output = (RECORDED / f"claude-code-{recorded}.jsonl").read_text()
    outcome = program.outcome(places, finished(tmp_path, '{"type":"system"}\n' + output, code=code))
    assert outcome.end == end
    assert said in outcome.text + outcome.problem
    assert outcome.usage["num_turns"] >= 1


def test_success_with_an_error_is_an_error(program: AgentProgram, places: Places, tmp_path: Path) -> None:
    last = {"type": "result", "subtype": "success", "is_error": True, "result": "Credit balance is too low"}
    outcome = program.outcome(places, finished(tmp_path, json.dumps(last, separators=(",", ":"))))
    assert (outcome.end, outcome.problem) == ("crashed", "Credit balance is too low")


@pytest.mark.parametrize(
    "output", ["", '{"type":"result","subty', '"type":"result"\n[1]\n', '{"type":"result"}\n', "\ud800"]
)
def test_output_that_says_nothing(program: AgentProgram, places: Places, tmp_path: Path, output: str) -> None:
    done = finished(tmp_path, output.encode("utf-8", "replace").decode(), "Error: no\n\n", code=1)
    outcome = program.outcome(places, done)
    assert outcome.end == "crashed"
    if "result" not in output:
        assert outcome.problem == "it ended with exit code 1 and no result: Error: no"


def test_a_deadline_is_no_crash(program: AgentProgram, places: Places, tmp_path: Path) -> None:
    assert program.outcome(places, finished(tmp_path, code=None, late=True)).end == "timeout"


def test_its_version(program: AgentProgram) -> None:
    assert program.version() == ClaudeCode.tried


def test_where_it_is_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CODCTL_CLAUDE_CODE", str(tmp_path / "nowhere"))
    with pytest.raises(PreflightError):
        ClaudeCode().executable()
