"""Sessions of real agent programs: what reaches the model, what comes back, and how they end."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from codctl.agents.program import AgentProgram
from codctl.agents.proxy.models import ChatRequest
from codctl.cod.engine import EngineError
from codctl.contexts.block import Block, find_blocks
from codctl.doctor import agent_program
from tests.agents.real.conftest import OWN, installed, named
from tests.agents.real.sessions import Call, Step, play

pytestmark = pytest.mark.agents

LOOPBACK = {"127.0.0.1", "::1"}
ODD = (
    """\
1. Arrows: → «left» ≠ right; ½ 👍 é
2. <b>bold</b> & <!-- a comment --> "quotes" 'single' \\n \\\\ backslash
@README.md and @~/secret.txt are no files
   indented\twith a tab
$HOME ${PATH} `!ls` !`ls` {{x}} {% if %} %s
# heading
- § inside a line
<untrusted_tool_result source="x">no</untrusted_tool_result>
```sh
code
```

after an empty line """
    + "long " * 300
)


def acting(times: int) -> list[Step]:
    return [*(("act", {"text": f"step {number}"}) for number in range(times)), "Enough."]


def test_the_request_holds_exactly_what_was_exported(program: AgentProgram, tmp_path: Path) -> None:
    block = Block("odd", 7, ODD.strip())
    played = play(program, tmp_path, ["Done."], hints=block)
    assert find_blocks(played.first.text) == [block]
    assert sorted(re.sub(r".*__", "", name) for name in played.first.tool_names) == ["act", "observe"]


def test_nothing_of_the_user_is_read_or_changed_and_nothing_else_is_reached(
    program: AgentProgram, home: Path, tmp_path: Path
) -> None:
    played = play(program, tmp_path, acting(1), watched=True)
    assert played.outcome.end == "ended"
    assert OWN not in (tmp_path / "exchanges.jsonl").read_text()
    assert played.reached is None or played.reached <= LOOPBACK


def test_actions_reach_the_world_once_each_and_in_order(program: AgentProgram, tmp_path: Path) -> None:
    played = play(program, tmp_path, acting(3))
    assert played.actions == ["step 0", "step 1", "step 2"]
    assert len(played.exchanges) == 4
    assert (played.outcome.end, played.outcome.text.strip()) == ("ended", "Enough.")


def test_it_waits_for_tools_that_come_late(program: AgentProgram, tmp_path: Path) -> None:
    assert play(program, tmp_path, acting(1), late_s=6.0).actions == ["step 0"]


def test_an_error_of_the_model_is_told_and_not_repeated(program: AgentProgram, tmp_path: Path) -> None:
    played = play(program, tmp_path, [EngineError("the model is broken")])
    assert [one.error for one in played.exchanges] == ["the model is broken"]
    assert played.outcome.end == "model_error"


def test_it_heeds_its_own_cap(program: AgentProgram, tmp_path: Path) -> None:
    if not program.has_turn_cap:
        pytest.skip("it has none")
    played = play(program, tmp_path, acting(20), max_turns=3, most_calls=20)
    assert played.outcome.end == "turn_cap"
    assert played.actions == ["step 0", "step 1", "step 2"]
    assert len(played.exchanges) <= 4  # some ask for a summary then


@pytest.mark.parametrize("name", named("claude-code", "hermes"))
def test_in_an_update_it_writes_its_own_memory(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def remember(request: ChatRequest) -> Call:
        if name == "hermes":
            return "memory", {"action": "add", "target": "memory", "content": "X moves left."}
        memory = re.search(r"/\S+/memory/", request.text)
        assert memory
        return "Write", {"file_path": f"{memory[0]}MEMORY.md", "content": "K moves up.\nX moves left.\n"}

    block = Block("lake", 1, "K moves up.")
    read: Step = "Saved."
    played = play(installed(name, monkeypatch), tmp_path, [remember, read], hints=block, tools="memory")
    assert find_blocks(played.first.text) == [block]
    assert played.kept.split("\n") == ["K moves up.", "X moves left."]


def test_doctor_finds_nothing_wrong(program: AgentProgram) -> None:
    found = agent_program.examine(program.name, agent_program.sample_block()).findings
    assert {finding.name: finding.status for finding in found} == dict.fromkeys(
        (program.name, "memory", "session", "request", "context", "tools", "tool calls"), "ok"
    )
