"""Whom a real agent program talks to: the model proxy and the world, and nobody else. strace sees every connection."""

from __future__ import annotations

import asyncio
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from codctl.agents.performer import AgentPerformer
from codctl.agents.program import AgentProgram, Launch, ModelAccess, Places, Task
from codctl.agents.proxy.server import ModelProxy
from codctl.agents.setup import AgentSetup
from codctl.evaluate.by_agent import AnswerModels
from tests.agents.test_performer import pack_of, player_of, solves

pytestmark = pytest.mark.agents

STRACE = ("strace", "-f", "-qq", "-e", "trace=connect,bind,sendto,sendmsg", "-e", "signal=none")
ADDRESS = re.compile(r'sin6?_port=htons\((\d+)\).*?(?:inet_addr\(|inet_pton\(AF_INET6, |sin6_addr=)"?([^")]+)')
LOOPBACK = re.compile(r"127\.|::1$|::ffff:127\.")


def traced(program: AgentProgram, log: Path) -> AgentProgram:
    """The same program, under strace."""

    class Traced(type(program)):  # type: ignore[misc]
        def prepare(self, places: Places, model: ModelAccess, task: Task) -> Launch:
            launch: Launch = super().prepare(places, model, task)
            return replace(launch, argv=(*STRACE, "-o", str(log), "--", *launch.argv))

    return Traced()


def addresses(log: Path, call: str) -> set[tuple[str, int]]:
    """Internet addresses that a system call was made with, and their ports."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if f"{call}(" in line and "AF_INET" in line]
    found = {ADDRESS.search(line): line for line in lines}
    assert None not in found, found[None]
    return {(match[2], int(match[1])) for match in found if match}


@pytest.mark.parametrize("tools", ["none", "all"])
def test_nobody_is_talked_to_but_model_and_world(
    program: AgentProgram, tools: Literal["none", "all"], tmp_path: Path
) -> None:
    assert shutil.which("strace"), "apt-get install strace"
    log = tmp_path / "strace"

    async def played() -> int:
        async with ModelProxy.open() as proxy:
            setup = AgentSetup(program.name, program.title, program.tried, "answer", tools=tools, deadline_s=300)
            performer = AgentPerformer(traced(program, log), setup, proxy, tmp_path, AnswerModels())
            found = await replace(player_of(), performer=performer).play(pack_of(length=1), 0)
            assert [one.failed for one in solves(found)] == [""]  # some take minutes to end under strace
            return proxy.port

    port = asyncio.run(played())
    reached = addresses(log, "connect") | addresses(log, "sendto") | addresses(log, "sendmsg")
    assert ("127.0.0.1", port) in reached
    # A port of 0 or 9 is a question to the kernel: which of its addresses it would send from.
    assert not {(host, at) for host, at in reached if at not in (0, 9, port) or not LOOPBACK.match(host)}
    assert not {(host, at) for host, at in addresses(log, "bind") if not LOOPBACK.match(host)}
    assert "world.sock" in log.read_text(errors="replace")
