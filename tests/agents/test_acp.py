"""Sessions over the Agent Client Protocol, with a program that has the real one's habits, and with recorded ones."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import Literal

import pytest

from codctl.agents import acp, session
from codctl.agents.program import Launch, Task, ToolServer
from codctl.agents.session import Session

FAKE = Path(__file__).with_name("fake_acp.py")
ECHO = "import sys; [print('did ' + line.split('method')[1][4:7], flush=True) for line in sys.stdin]"
WORLD = ToolServer("world", (sys.executable, "-I", "-S", "-c", ECHO))


def run(
    folder: Path,
    *habits: str,
    server: ToolServer | None = WORLD,
    tools: Literal["none", "memory", "all"] = "none",
    deadline_s: float = 30.0,
) -> tuple[Session, list[acp.Message]]:
    launch = Launch(
        (sys.executable, "-I", "-S", str(FAKE), *habits), {"PATH": os.environ["PATH"]}, folder, speaks="acp"
    )
    task = Task("Play.", server=server, tools=tools, deadline_s=deadline_s)
    lead = partial(acp.lead, launch=launch, task=task)
    found = asyncio.run(session.run(launch, folder, deadline_s=deadline_s, lead=lead))
    return found, list(acp.read_messages(found.finished.stdout.read_text().splitlines()))


def said(messages: list[acp.Message]) -> str:
    return "".join(
        one["content"]["text"] for one in acp.updates(messages) if one["sessionUpdate"] == "agent_message_chunk"
    )


@pytest.mark.parametrize("habits", [(), ("noisy",)])
def test_a_session_is_led_to_its_end(tmp_path: Path, habits: tuple[str, ...]) -> None:
    found, messages = run(tmp_path, *habits)
    assert said(messages) == "Play. / did obs / did act"
    assert acp.answer_to_prompt(messages) == {"jsonrpc": "2.0", "id": 3, "result": {"stopReason": "end_turn"}}
    assert (found.finished.exit_code, found.finished.timed_out) == (0, False)


@pytest.mark.parametrize(("tools", "shell"), [("none", False), ("memory", False), ("all", True)])
def test_only_the_worlds_tools_are_allowed_unless_all_are(
    tmp_path: Path, tools: Literal["none", "memory", "all"], shell: bool
) -> None:
    assert said(run(tmp_path, "shell", tools=tools)[1]) == f"Play. / did obs / did act / shell {shell}"


def test_without_a_server_nothing_is_allowed(tmp_path: Path) -> None:
    assert said(run(tmp_path, "shell", server=None)[1]) == "Play. / shell False"


def test_what_no_client_has_is_refused_and_what_offers_nothing_is_cancelled(tmp_path: Path) -> None:
    assert said(run(tmp_path, "odd")[1]).endswith("/ -32601 / odd False")


@pytest.mark.parametrize("habit", ["dies", "refuses"])
def test_a_program_that_breaks_off(tmp_path: Path, habit: str) -> None:
    found, messages = run(tmp_path, habit)
    assert acp.answer_to_prompt(messages) is None
    assert found.finished.exit_code == (9 if habit == "dies" else 0)


def test_a_silent_program_is_asked_to_stop_before_its_deadline(tmp_path: Path) -> None:
    found, messages = run(tmp_path, "silent", deadline_s=3)
    assert acp.answer_to_prompt(messages) == {"jsonrpc": "2.0", "id": 3, "result": {"stopReason": "cancelled"}}
    assert (found.finished.exit_code, found.finished.timed_out) == (0, False)


def test_a_program_that_stays_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_CLOSING_S", 0.2)
    monkeypatch.setattr(session, "_GRACE_S", 0.2)
    began = time.monotonic()
    found, messages = run(tmp_path, "stays")
    assert time.monotonic() - began < 10
    assert said(messages)
    assert not found.finished.timed_out


@pytest.mark.parametrize("line", ["", "remark", "[1]", "null", "[" * 100_000, '{"id": 3', '{"method": 1}'])
def test_lines_that_are_no_messages(line: str) -> None:
    assert acp.answer_to_prompt(acp.read_messages([line])) is None
    assert not list(acp.updates(acp.read_messages([line])))
