"""OpenClaw and QwenPaw themselves. `make test-agents AGENTS="openclaw qwenpaw"`; each session takes half a minute."""

from __future__ import annotations

from pathlib import Path

import pytest

from codctl.agents.program import AgentProgram
from codctl.cod.engine import EngineError
from codctl.contexts.block import find_blocks
from tests.agents.real.conftest import installed, named
from tests.agents.real.sessions import HINTS, WON, play

pytestmark = pytest.mark.agents
OBSERVE, ACT = ("world__observe", {}), ("world__act", {"text": "K"})
LOOPBACK = {"127.0.0.1"}


@pytest.fixture(params=named("openclaw", "qwenpaw"))
def program(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AgentProgram:
    return installed(request.param, monkeypatch)


def test_it_plays_the_world_with_its_tools_alone_and_reads_the_hints_whole(
    program: AgentProgram, tmp_path: Path
) -> None:
    played = play(program, tmp_path, [OBSERVE, ACT, "I have won."], watched=True)
    assert (played.outcome.end, played.outcome.text) == ("ended", "I have won.")
    assert played.actions == ["K"]
    assert [text for _, text in played.exchanges[-1].request.results()] == ["You stand at A.", WON]
    assert [one.request.tool_names for one in played.exchanges] == [["world__act", "world__observe"]] * 3
    assert all(find_blocks(one.request.text) == [HINTS] for one in played.exchanges)
    assert played.reached in (None, LOOPBACK)


def test_it_asks_no_other_model_when_its_own_fails(program: AgentProgram, tmp_path: Path) -> None:
    played = play(program, tmp_path, [EngineError("scripted")], watched=True)
    assert played.outcome.end == "model_error"
    assert [one.error for one in played.exchanges] == ["scripted"]  # and not asked again
    assert played.reached in (None, LOOPBACK)


def test_it_ends_when_it_may_not_ask_any_more(program: AgentProgram, tmp_path: Path) -> None:
    played = play(program, tmp_path, [OBSERVE], max_turns=5)
    assert played.outcome.end == ("turn_cap" if program.has_turn_cap else "ended")
    assert [one.capped for one in played.exchanges] == [False] * 5 + [True] * (not program.has_turn_cap)


def test_it_writes_its_memory(program: AgentProgram, tmp_path: Path) -> None:
    path = "file_path" if program.name == "qwenpaw" else "path"
    tool = "write_file" if program.name == "qwenpaw" else "write"
    played = play(program, tmp_path, [(tool, {path: "MEMORY.md", "content": "Z moves left."}), "Done."], tools="memory")
    assert find_blocks(played.first.text) == [HINTS]
    assert not [name for name in played.first.tool_names if "exec" in name or "web" in name or "shell" in name]
    assert played.kept == "Z moves left."


def test_with_all_its_tools_it_has_a_shell(program: AgentProgram, tmp_path: Path) -> None:
    shell = "execute_shell_command" if program.name == "qwenpaw" else "exec"
    steps = [(shell, {"command": "echo $((6 * 7))"}), OBSERVE, ACT, "I have won."]
    played = play(program, tmp_path, steps, tools="all")
    assert "42" in next(text for _, text in played.exchanges[1].request.results())
    assert played.actions == ["K"]
    assert find_blocks(played.first.text) == [HINTS]
