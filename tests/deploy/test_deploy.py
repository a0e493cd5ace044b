"""codctl deploy, from the model to an agent program and back into the context."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from codctl.agents.program import PROGRAMS
from codctl.cli.main import run
from codctl.cod.context import END, START
from codctl.contexts.store import Context, Origin
from codctl.deploy import deployment as places
from codctl.deploy.deployment import Deployment
from codctl.deploy.serving import Ready, Wanted, serve
from codctl.engines.openai.settings import EndpointSettings
from codctl.errors import RefusedError, UsageError
from codctl.evaluate.subject import PolicyUnderTest, subject_of_model
from codctl.files.lock import RunLock
from tests.engines.openai.fake_server import FakeServer, says

EXCHANGE = {
    "dialect": "openai",
    "model": "m",
    "request": {"messages": [{"role": "user", "content": "Go."}], "tools": []},
    "reply": {"text": "Gone.", "tool_calls": []},
}
FAKE = Path(__file__).with_name("fake_hermes.py")


@pytest.fixture(autouse=True)
def hermes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Hermes is the fake one, and the person's home is empty."""
    program = tmp_path / "hermes"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE} "$@"\n')
    program.chmod(0o755)
    (tmp_path / "person").mkdir()
    monkeypatch.setenv("CODCTL_HERMES", str(program))
    monkeypatch.setenv("HOME", str(tmp_path / "person"))
    monkeypatch.chdir(tmp_path)
    return program


@pytest.fixture
def context(tmp_path: Path) -> Context:
    context = Context(tmp_path / "contexts" / "lake")
    context.create()
    context.append(context.head().revision, "K moves left.", Origin("edit"))
    return context


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()


def model(server: FakeServer) -> PolicyUnderTest:
    settings = EndpointSettings(server.url, "llama-8b", attempts=1)
    return PolicyUnderTest("endpoint", "llama-8b", endpoint=settings)


def deployed(
    deployment: Deployment, subject: PolicyUnderTest, meanwhile: Callable[[Ready], None], wanted: Wanted | None = None
) -> tuple[int | None, list[str]]:
    """Deploy, do something in another thread, and end it with Ctrl-C; what it returned and said."""
    said: list[str] = []
    faults: list[BaseException] = []

    def act(ready: Ready) -> None:
        try:
            meanwhile(ready)
            time.sleep(0.7)  # the last look at what happened
        except BaseException as error:  # noqa: BLE001
            faults.append(error)
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    def begin(ready: Ready) -> None:
        threading.Thread(target=act, args=(ready,)).start()

    found = serve(deployment, subject, wanted or Wanted(), begin, said.append)
    if faults:
        raise faults[0]
    return found, said


def started(path: Path, *words: str) -> tuple[str, dict[str, Any]]:
    done = subprocess.run([str(path), *words], capture_output=True, text=True, timeout=60, check=True)
    *text, last = done.stdout.splitlines()
    return "\n".join(text), json.loads(last)


def waits_for(is_so: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.05)


def test_an_agent_works_with_the_model_and_its_hints(context: Context, server: FakeServer) -> None:
    deployment = Deployment(PROGRAMS.get("hermes"), context)
    memory = deployment.folder / "home" / ".hermes" / "memories" / "MEMORY.md"
    server.answer = lambda body: says("hello from the model")

    def meanwhile(ready: Ready) -> None:
        text, seen = started(ready.start, "Say", "hello")
        assert text == "hello from the model"
        assert seen["cwd"] == str(deployment.folder / "work")
        assert not {"CODCTL_HERMES", "PYTEST_CURRENT_TEST"} & set(seen["env"])
        assert ready.version == "9.9.9"
        with pytest.raises(RefusedError, match="deployed already"):
            serve(deployment, model(server), Wanted(), lambda ready: None, lambda line: None)
        context.append(context.head().revision, "K moves left.\nQ moves down.", Origin("edit"))
        waits_for(lambda: "Q moves down." in memory.read_text())
        memory.write_text(memory.read_text().replace("left", "right"))
        context.roll_back(1)

    asked, said = deployed(deployment, model(server), meanwhile)
    assert asked == 1
    body = next(body for body in server.bodies if body.get("tools"))
    assert "K moves left." in body["messages"][0]["content"]
    assert body["messages"][1]["content"] == "Say hello"
    assert said[0].startswith("reply 1: 10 tokens read, 3 written")
    assert said[1] == f"revision 2 of lake is in {memory}"
    assert "the agent's memory stays as it is: the hints in Hermes's MEMORY.md were changed" in said[2]
    assert "K moves right." in memory.read_text()
    assert not (deployment.folder / "deployment.json").exists()
    assert places.running(context) is None
    assert places.last_session(context).parent.parent.parent == deployment.folder


def test_a_session_becomes_a_revision_by_the_model_that_is_deployed(
    context: Context, server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    deployment = Deployment(PROGRAMS.get("hermes"), context)
    replies = [
        says("I tried Q."),
        says(f"Think.\n{START}\nK moves left.\nQ moves down.\n{END}"),
        says("no hints in this"),
        says(f"{START}\nchange 2: Q moves up.\n{END}"),
    ]
    probed = threading.Event()
    server.answer = lambda body: replies.pop(0) if probed.is_set() else says("yes")
    line = ["context", "update", "lake", "--from-session", "--reward", "0.5", "--feedback", "Good."]

    def meanwhile(ready: Ready) -> None:
        probed.set()
        started(ready.start, "Cross the lake.")
        skip_probe = pytest.MonkeyPatch()
        skip_probe.setattr("codctl.engines.openai.engine.OpenAIEngine.probe", _no_probe)
        with contextlib.ExitStack() as stack:
            stack.callback(skip_probe.undo)
            assert run([*line, "--json"]) == 0
            assert run(line) == 0
            assert run([*line, "--update", "delta", "--json"]) == 0

    deployed(deployment, model(server), meanwhile)
    out = capsys.readouterr()
    found = json.loads(out.out.splitlines()[0])["result"]
    assert (found["text"], found["reward"], found["task"]) == ("K moves left.\nQ moves down.", 0.5, "Cross the lake.")
    assert (found["source"], found["model"], found["parent"], found["parsed"]) == ("update", "llama-8b", 1, True)
    prompt = server.bodies[-3]["messages"][-1]["content"]
    assert "I tried Q." in prompt
    assert "Feedback: Good." in prompt
    assert "the hints stay as they are: expected each hint marker once" in out.err
    head = context.head()
    assert (head.number, head.text, head.revision.parsed) == (4, "K moves left.\nQ moves up.", True)
    assert "1. K moves left.\n2. Q moves down." in server.bodies[-1]["messages"][-1]["content"]
    assert head.origin.edits == "change 2: Q moves up."


async def _no_probe(engine: Any, *rest: Any) -> None:
    """A server that is known to be there is not asked whether it is."""


def test_a_model_of_codctl_answers_an_agent(context: Context, tiny_folder: Path) -> None:
    deployment = Deployment(PROGRAMS.get("hermes"), context)
    subject = subject_of_model(str(tiny_folder))

    def meanwhile(ready: Ready) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):  # what it says may be no text
            started(ready.start, "up", "down")

    asked, said = deployed(deployment, subject, meanwhile)
    assert asked == 1
    record = json.loads(places.last_session(context).read_text())
    assert record["request"]["messages"][1]["content"] == "up down"
    assert record["reply"] is None or record["reply"]["tokens"]["ids"]
    assert said[0].startswith(("reply 1", "request 1"))


def test_an_update_without_a_reply_writes_nothing(
    context: Context, server: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "exchanges.jsonl").write_text(json.dumps(EXCHANGE) + "\n")
    server.shutdown()
    server.server_close()
    line = ["context", "update", "lake", "--trajectory", str(tmp_path / "exchanges.jsonl")]
    assert run([*line, "--endpoint", server.url, "--model-name", "llama-8b"]) == 7
    assert context.numbers() == [0, 1]
    assert run(line) == 2
    assert "say which model writes it" in capsys.readouterr().err
    assert run(["context", "update", "lake"]) == 2
    assert run([*line[:3], "--from-session", "--run", "tiny"]) == 2
    assert "no session with context lake is recorded" in capsys.readouterr().err


def test_hints_are_edited_where_the_model_was_trained_so(
    context: Context, server: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "exchanges.jsonl").write_text(json.dumps(EXCHANGE) + "\n")
    server.answer = lambda body: says(f"{START}\nadd: Q moves down.\n{END}")
    line = ["context", "update", "lake", "--trajectory", str(tmp_path), "--update", "delta"]
    assert run([*line, "--endpoint", server.url, "--model-name", "llama-8b", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["result"]
    assert (found["text"], found["edits"]) == ("K moves left.\nQ moves down.", "add: Q moves down.")
    assert "1. K moves left." in server.bodies[-1]["messages"][-1]["content"]


def test_a_home_of_the_persons_is_only_written_to_when_they_say_so(
    context: Context, server: FakeServer, tmp_path: Path
) -> None:
    person = tmp_path / "person"
    deployment = Deployment(PROGRAMS.get("hermes"), context, home=person)

    def look(ready: Ready) -> None:
        assert ready.exported is None
        assert (
            json.loads(ready.configured.files[str(person / ".hermes" / "config.yaml")])["model"]["default"] == "codctl"
        )
        assert "HERMES_HOME" not in ready.configured.env
        assert not list(person.iterdir())

    deployed(deployment, model(server), look)

    def look_again(ready: Ready) -> None:
        assert "K moves left." in (person / ".hermes" / "memories" / "MEMORY.md").read_text()
        assert [path.name for path in (person / ".hermes").iterdir()] == ["memories"]

    deployed(deployment, model(server), look_again, Wanted(writes=True))


def test_printing_starts_and_writes_nothing(
    server: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["deploy", "--endpoint", server.url, "--model-name", "llama-8b", "--agent", "hermes", "--context", "lake"]
    assert run([*line, "--print", "--port", "8123", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["result"]
    assert found["url"] == "http://127.0.0.1:8123/s/SESSION"
    config = next(text for path, text in found["files"].items() if path.endswith("/config.yaml"))
    assert json.loads(config)["model"]["base_url"] == "http://127.0.0.1:8123/s/SESSION/v1"
    assert run([*line, "--print"]) == 0
    assert "config.yaml" in capsys.readouterr().out
    assert server.bodies == []
    assert not (tmp_path / "contexts").exists()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["tiny"], "say in which agent program"),
        (["--agent", "hermes"], "say which model"),
        (["tiny", "--agent", "hermse"], "did you mean 'hermes'"),
        (["tiny", "--agent", "hermes", "--dir", "nowhere"], "there is no such folder"),
        (["nowhere", "--agent", "hermes"], "nowhere"),
        (["tiny", "--endpoint", "http://localhost:1/v1", "--agent", "hermes"], "say which model"),
    ],
)
def test_what_cannot_be_deployed(words: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["deploy", *words]) in (2, 3)
    assert problem in capsys.readouterr().err


def test_several_deployments_of_a_context_are_told_apart(context: Context) -> None:
    locks = contextlib.ExitStack()
    record = {
        "agent": "", "model": "m", "url": "http://127.0.0.1:1/v1", "rendering": "full", "update": "rewrite",
        "update_tokens": 9,
        "temperature": 1.0, "window": 9, "pid": os.getpid(),
    }  # fmt: skip
    for name in ("hermes", "openclaw"):
        deployment = Deployment(PROGRAMS.get(name), context)
        deployment.folder.mkdir(parents=True)
        places.write_record(deployment, record | {"agent": name})
        assert places.running(context) is None or name == "openclaw"
        locks.enter_context(RunLock(deployment.folder / "lock"))
    with locks, pytest.raises(UsageError, match="deployed in hermes and openclaw"):
        places.running(context)
    shutil.rmtree(context.folder / "agents")
