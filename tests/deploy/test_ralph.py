"""codctl ralph: fresh sessions in one workspace, with hints that are rewritten in between, until a command succeeds."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import psutil
import pytest

from codctl.cli.main import run
from codctl.cod.context import END, START
from codctl.deploy import ralph as loops
from codctl.deploy.ralph import Ralph, words_of
from codctl.processes import python_environment
from tests.engines.openai.fake_server import Answer, FakeServer, refuses, says, serving

WORKER_FILE = Path(__file__).with_name("ralph_worker.py")
WORKER = "tests.deploy.ralph_worker:Worker"
SAID = 'said = pathlib.Path("answer").read_text(); sys.exit(not said.endswith("1") and said + " is wrong")'
CHECK = f"{sys.executable} -c 'import sys, pathlib; {SAID}'"
OWN_NOTES = "# Notes of a person\n"


def tries(body: dict[str, Any]) -> Answer:
    """A model that learns to count: it writes the number that its hints name, and the update names the next one."""
    system = body["messages"][0]["content"]
    if START in system:
        number = re.findall(r"(\d) is wrong", body["messages"][1]["content"])[-1]
        return says(f"{START}\nTry {int(number) + 1}.\n{END}")
    if body["messages"][-1]["role"] == "tool":
        return says("I have written it.")
    found = re.search(r"Try (\d)", system)
    call = {"name": "write", "arguments": json.dumps({"path": "answer", "text": found[1] if found else "0"})}
    message = {"role": "assistant", "content": "", "tool_calls": [{"id": "1", "type": "function", "function": call}]}
    return Answer(body={"choices": [{"message": message, "finish_reason": "tool_calls"}], "usage": {}})


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving() as server:
        server.answer = tries
        yield server


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace of a person, with a file in which the agent also finds its hints."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "PROMPT.md").write_text("Write the right number into the file `answer`.\n")
    work = tmp_path / "work"
    work.mkdir()
    (work / "AGENTS.md").write_text(OWN_NOTES)
    return work


def ralph(server: FakeServer, *options: str, agent: str = WORKER, check: str = CHECK) -> int:
    return run([*words(server, agent, check), *options])


def words(server: FakeServer, agent: str = WORKER, check: str = CHECK) -> list[str]:
    asks = ["ralph", "--endpoint", server.url, "--model-name", "llama-8b", "--agent", agent, "--prompt", "PROMPT.md"]
    return [*asks, "--verify", check, "--dir", "work"]


def test_it_goes_on_until_the_check_succeeds(
    server: FakeServer, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ralph(server, "--json") == 0
    found = json.loads(capsys.readouterr().out)["result"]
    assert (work / "answer").read_text() == "01"  # the workspace stays
    assert (work / "AGENTS.md").read_text() == OWN_NOTES  # and nothing of codctl's in it
    assert found["done"]
    assert found["hints"] == "Try 1."
    assert [one["exit_code"] for one in found["iterations"]] == [1, 0]
    assert [one["revision"] for one in found["iterations"]] == [0, 1]
    assert [one["said"] for one in found["iterations"]] == ["0 is wrong", ""]
    assert {one["ended"] for one in found["iterations"]} == {"ended"}
    solves = [body for body in server.bodies if body.get("tools")]
    assert [body["messages"][0]["content"] for body in solves][:2] == [OWN_NOTES] * 2
    assert "Try 1." in solves[-1]["messages"][0]["content"]
    update = next(body["messages"] for body in server.bodies if START in body["messages"][0]["content"])
    for said in ("Write the right number", 'calls write({"path": "answer"', "exit status 1", "0 is wrong", "Reward: 0"):
        assert said in update[1]["content"]
    page = Path(found["page"]).read_text()
    for said in ("Done after 2 iterations", "Iteration 2", "Try 1.", "0 is wrong", "The agent ended after 2 replies"):
        assert said in page


def test_it_ends_when_the_iterations_are_used_up_and_may_go_on(
    server: FakeServer, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ralph(server, "--max-iterations", "1") == 4
    assert "not done after 1 iteration; --max-iterations N allows more" in capsys.readouterr().out
    asked = [body for body in server.bodies if body.get("tools")]
    assert ralph(server, "--max-iterations", "1") == 4
    assert [body for body in server.bodies if body.get("tools")] == asked  # nothing is done again
    assert ralph(server, "--max-iterations", "5") == 0
    assert (work / "answer").read_text() == "01"
    assert "done after 2 iterations" in capsys.readouterr().out


class KilledError(BaseException):
    """As a kill would, it leaves everything as it is."""


@pytest.mark.parametrize(
    ("owner", "where", "after"),
    [
        (loops.session, "run", False),
        (loops, "_verify", False),
        (Ralph, "keep", True),
        (loops.Context, "append", False),
        (loops.Context, "append", True),
    ],
)
def test_killed_anywhere_it_continues(
    server: FakeServer, work: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, where: str, after: bool
) -> None:
    """What was over is not done again; what was not is."""
    real = getattr(owner, where)

    def dying(*values: Any, **more: Any) -> Any:
        if after:
            real(*values, **more)
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(owner, where, dying)
        with pytest.raises(KilledError):
            ralph(server)
    assert ralph(server) == 0
    found = Ralph(Path("ralph/PROMPT").resolve())
    assert [one.exit_code for one in found.iterations()] == [1, 0]
    assert [one.origin.task for one in found.context.all()] == ["", "iteration 1"]
    assert (work / "AGENTS.md").read_text() == OWN_NOTES


@pytest.mark.parametrize("asks", ["agent", "update"])
def test_a_kill_ends_the_agent_too_and_the_same_command_continues(server: FakeServer, work: Path, asks: str) -> None:
    """SIGKILL while the model thinks: for the agent of the second iteration, whose hints lie in the workspace, or for
    the update after the first."""
    reached, released = Event(), Event()

    def thinks(body: dict[str, Any]) -> Answer:
        system = body["messages"][0]["content"]
        if START in system if asks == "update" else "Try 1" in system:
            reached.set()
            released.wait(60)
        return tries(body)

    server.answer = thinks
    command = [sys.executable, "-m", "codctl", *words(server)]
    killed = subprocess.Popen(command, env=python_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    agents: list[psutil.Process] = []
    try:
        assert reached.wait(60)
        assert ((work / "AGENTS.md").read_text() != OWN_NOTES) == (asks == "agent")
        children = psutil.Process(killed.pid).children()
        agents += [one for one in children if str(WORKER_FILE) in one.cmdline()]
        assert len(agents) == (asks == "agent")
    finally:
        killed.kill()
        killed.wait()
        _, alive = psutil.wait_procs(agents, timeout=30)
        released.set()
    assert not alive
    server.answer = tries
    assert ralph(server) == 0
    found = Ralph(Path("ralph/PROMPT").resolve())
    assert [one.exit_code for one in found.iterations()] == [1, 0]
    assert [one.origin.task for one in found.context.all()] == ["", "iteration 1"]
    assert (work / "AGENTS.md").read_text() == OWN_NOTES


def test_an_update_that_cannot_be_read_keeps_the_hints(server: FakeServer, work: Path) -> None:
    server.answer = lambda body: says("no lines") if START in body["messages"][0]["content"] else tries(body)
    assert ralph(server, "--max-iterations", "1") == 4
    stored = Ralph(Path("ralph/PROMPT").resolve()).context.all()
    assert [(one.text, bool(one.revision.problem)) for one in stored] == [("", False), ("", True)]


def test_a_check_that_hangs_is_ended(server: FakeServer, work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check = f"{sys.executable} -c 'import time; time.sleep(60)'"
    server.answer = lambda body: says(f"{START}\nnone\n{END}") if not body.get("tools") else tries(body)
    assert ralph(server, "--max-iterations", "1", "--verify-deadline", "1", check=check) == 4
    assert "the check ran out of time" in capsys.readouterr().out
    assert "The check" in server.bodies[-1]["messages"][1]["content"]
    assert "did not end in time" in server.bodies[-1]["messages"][1]["content"]


REFUSED = [
    (
        ["--max-iterations", "1"],
        {"agent": "tests.deploy.ralph_worker:Silent"},
        4,
        "Worker ended without asking the model",
    ),
    ([], {"check": ""}, 2, "--verify is no command: it is empty"),
    ([], {"check": "pytest 'x"}, 2, "--verify is no command: no closing quotation"),
    ([], {"check": "cd work && make"}, 2, "there is no program 'cd'"),
    (["--dir", "nowhere"], {}, 2, "there is no such folder"),
    (["--prompt", "nothing.md"], {}, 2, "cannot read the prompt"),
]


@pytest.mark.parametrize(("options", "named", "code", "message"), REFUSED)
def test_what_cannot_be_done_is_said(
    server: FakeServer,
    work: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    named: dict[str, str],
    code: int,
    message: str,
) -> None:
    assert ralph(server, *options, **named) == code
    assert message in capsys.readouterr().err


def test_a_model_that_never_replies_ends_the_loop(
    server: FakeServer, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answer = lambda body: refuses(400, "too long for me") if body.get("tools") else says()
    assert ralph(server) == 7
    assert "Worker got no reply of the model" in (said := capsys.readouterr().err)
    assert "too long for me" in said
    assert not Ralph(Path("ralph/PROMPT").resolve()).iterations()


def test_another_loop_is_not_continued(server: FakeServer, work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ralph(server, "--max-iterations", "1") == 4
    Path("PROMPT.md").write_text("Something else.")
    assert ralph(server, "--max-iterations", "1") == 6
    assert "the folder holds a loop with another prompt" in capsys.readouterr().err


def test_a_command_is_words_and_no_shell() -> None:
    assert words_of("pytest -k 'a b' && rm x") == ("pytest", "-k", "a b", "&&", "rm", "x")
