"""codctl ralph with a real agent program: its own tools write in the workspace, its own memory carries the hints."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from codctl.agents.program import AgentProgram
from codctl.cli.main import run
from codctl.cod.context import END, START
from tests.engines.openai.fake_server import Answer, says, serving

pytestmark = pytest.mark.agents

SAID = 'said = pathlib.Path("answer").read_text(); sys.exit(said != "1" and said + " is wrong")'
SHELLS = {"Bash": {"description": "write"}, "terminal": {}, "exec": {}, "execute_shell_command": {}}


def counts(body: dict[str, Any]) -> Answer:
    """Writes the number that the hints name with the program's shell; the update names the next one."""
    text = "\n".join(str(message.get("content")) for message in body["messages"])
    tools = [tool["function"]["name"] for tool in body.get("tools", [])]
    if START in text and not tools:
        wrong = re.findall(r"(\d) is wrong", text)[-1]
        return says(f"{START}\nTry {int(wrong) + 1}.\n{END}")
    shell = next((name for name in SHELLS if name in tools), None)
    if body["messages"][-1]["role"] == "tool" or shell is None:  # some ask for a title first
        return says("I have written it.")
    found = re.search(r"Try (\d)", text)
    arguments = {"command": f"printf {found[1] if found else 0} > answer", **SHELLS[shell]}
    call = {"id": "c1", "type": "function", "function": {"name": shell, "arguments": json.dumps(arguments)}}
    message = {"role": "assistant", "content": "", "tool_calls": [call]}
    return Answer(body={"choices": [{"message": message, "finish_reason": "tool_calls"}], "usage": {}})


@pytest.mark.parametrize("sandbox", ["none", "unshare"])
def test_hints_carry_from_session_to_session(
    program: AgentProgram, sandbox: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work, prompt = tmp_path / "work", tmp_path / "PROMPT.md"
    work.mkdir()
    prompt.write_text("Write the right digit into the file `answer` in this folder.")
    check = f"{sys.executable} -c 'import sys, pathlib; {SAID}'"
    with serving() as server:
        server.answer = counts
        words = ["ralph", "--endpoint", server.url, "--model-name", "llama-8b", "--agent", program.name, "--json"]
        words += ["--prompt", str(prompt), "--verify", check, "--dir", str(work), "--out", str(tmp_path / "loop")]
        code = run([*words, "--max-iterations", "3", "--agent-sandbox", sandbox])
    found = json.loads(capsys.readouterr().out)["result"]
    assert code == 0, found
    assert [one["exit_code"] for one in found["iterations"]] == [1, 0]
    assert {path.name for path in work.rglob("*")} == {"answer"}
