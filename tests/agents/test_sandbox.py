"""What a program with a shell can reach from inside a sandbox."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import codctl
from codctl.agents import sandbox, session
from codctl.agents.places import fresh_places
from codctl.agents.program import Finished, Launch, Places
from codctl.agents.sandbox import check_sandbox, shut_in
from codctl.agents.world_server import WorldServer
from codctl.errors import PreflightError
from tests.agents import fakes
from tests.agents.test_performer import by_itself, inside, pack_of, player_of, without_performance

SECRET = "the-key-of-somebody"
TRUTH = "K moves the walker up"
REPLY = b"the model says hello\n" + b"x" * 200_000


def makes_sandboxes() -> bool:
    try:
        check_sandbox()
    except PreflightError:
        return False
    return True


needs_namespaces = pytest.mark.skipif(not makes_sandboxes(), reason="this machine has no user namespaces")


@pytest.fixture
def model() -> Iterator[socket.socket]:
    """A port on loopback, for what stands in for the model proxy."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        yield listener


def port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


async def run(
    places: Places, folder: Path, code: str, port: int, hidden: Sequence[Path] = (), deadline_s: float = 20.0
) -> Finished:
    """Run a Python program in a sandbox."""
    launch = Launch((sys.executable, "-c", code), {"PATH": os.environ["PATH"], "HOME": str(places.home)}, places.work)
    async with shut_in(launch, places, f"http://127.0.0.1:{port}/s/1", hidden) as inside:
        return (await session.run(inside, folder, deadline_s=deadline_s)).finished


def said(finished: Finished) -> str:
    return finished.stdout.read_text() + finished.stderr.read_text()


PROBE = r"""
import json, os, pathlib, socket, subprocess

def tried(work):
    try:
        return work()
    except OSError as error:
        return type(error).__name__

def read(path):
    return tried(lambda: pathlib.Path(path).read_text())

def write(path):
    return tried(lambda: pathlib.Path(path).write_text("x"))

def connect(host, port):
    with socket.create_connection((host, port), 2):
        return "connected"

def ask(port):
    with socket.create_connection(("127.0.0.1", port), 5) as one:
        one.sendall(b"hello\n")
        return len(one.makefile("rb").read())

def code(*argv):
    return subprocess.run(argv, capture_output=True).returncode

asked = json.loads(pathlib.Path("asked.json").read_text())
pids = [name for name in os.listdir("/proc") if name.isdigit()]
print(json.dumps({
    "read": [read(path) for path in asked["read"]],
    "listed": [tried(lambda: os.listdir(path)) for path in asked["list"]],
    "written": [write(path) for path in asked["write"]],
    "environments": [read(f"/proc/{pid}/environ") for pid in pids],
    "commands": [read(f"/proc/{pid}/cmdline") for pid in pids],
    "codctl_lives": tried(lambda: os.kill(asked["pid"], 0)),
    "model": tried(lambda: ask(asked["model"])),
    "other_port": tried(lambda: connect("127.0.0.1", asked["other_port"])),
    "elsewhere": tried(lambda: connect("192.0.2.1", 80)),
    "networks": [line.split(":")[0].strip() for line in read("/proc/net/dev").splitlines()[2:]],
    "uncovered": [code("umount", "/tmp"), code("unshare", "-rm", "umount", "/tmp")],
    "capabilities": sorted({line.split()[1] for line in read("/proc/self/status").splitlines() if "Cap" in line}),
    "codctl": sorted(path.name for path in pathlib.Path(asked["package"]).rglob("*.py")),
}))
"""


@needs_namespaces
def test_a_program_with_a_shell_sees_only_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: socket.socket
) -> None:
    """No hidden world, no other episode, no key, no process of others, no network but the model."""
    monkeypatch.setenv("SOMEBODYS_API_KEY", SECRET)
    evaluation = tmp_path / "evaluation"
    evaluation.mkdir()
    rows = evaluation / "rows.jsonl"
    rows.write_text(TRUTH)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readline() == b"hello\n"
        writer.write(REPLY)
        writer.close()

    async def probed(other_port: int) -> dict[str, Any]:
        with fresh_places() as other, fresh_places() as places:
            (other.home / "notes").write_text(TRUTH)
            asked = {
                "model": port_of(model),
                "other_port": other_port,
                "pid": os.getpid(),
                "package": str(Path(codctl.__file__).parent),
                "read": [str(rows), str(other.home / "notes"), f"/proc/{os.getpid()}/environ"],
                "list": [str(evaluation), str(other.home.parent), "/run"],
                "write": [str(rows), "/usr/x", str(places.work / "mine")],
            }
            (places.work / "asked.json").write_text(json.dumps(asked))
            async with await asyncio.start_server(answer, sock=model):
                finished = await run(places, tmp_path, PROBE, port_of(model), [evaluation])
            assert (places.work / "mine").read_text() == "x"
            return json.loads(said(finished))  # type: ignore[no-any-return]

    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        found = asyncio.run(probed(port_of(elsewhere)))
    assert rows.read_text() == TRUTH
    assert SECRET not in json.dumps(found)
    assert found["read"] == ["FileNotFoundError"] * 3
    assert found["listed"] == ["FileNotFoundError", "FileNotFoundError", []]
    assert found["written"] == ["FileNotFoundError", "OSError", 1]
    assert len(found["commands"]) == 3  # the first process, the bridge, and itself
    assert found["codctl_lives"] == "ProcessLookupError"
    assert found["model"] == len(REPLY)
    assert (found["other_port"], found["elsewhere"], found["networks"]) == ("ConnectionRefusedError", "OSError", ["lo"])
    assert 0 not in found["uncovered"]
    assert found["capabilities"] == ["0" * 16]
    assert found["codctl"] == ["relay.py"]


ACTING = """
import subprocess, sys
relay = subprocess.Popen({argv!r}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
relay.stdin.write({request!r})
relay.stdin.flush()
print(relay.stdout.readline().decode())
relay.kill()
"""


@needs_namespaces
def test_the_world_is_reached_from_a_sandbox(tmp_path: Path, model: socket.socket) -> None:
    asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "act", "arguments": {"text": "K"}}}

    async def act(text: str) -> str:
        return f"{text} moved you up"

    async def test() -> None:
        with fresh_places() as places:
            async with WorldServer.open(lambda: "here", act, places.temp) as server:
                code = ACTING.format(argv=list(server.tools.argv), request=json.dumps(asked).encode() + b"\n")
                assert "K moved you up" in said(await run(places, tmp_path, code, port_of(model)))
                assert server.calls == 1

    asyncio.run(test())


@needs_namespaces
@pytest.mark.parametrize(
    ("code", "expected"), [("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 137)]
)
def test_exit_codes_come_through(tmp_path: Path, model: socket.socket, code: str, expected: int) -> None:
    with fresh_places() as places:
        assert asyncio.run(run(places, tmp_path, code, port_of(model))).exit_code == expected


STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork():
    os.setsid()
time.sleep(100)  # {marker}
"""


@needs_namespaces
def test_nothing_outlives_a_sandbox(tmp_path: Path, model: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither what ignores SIGTERM nor what has left its group."""
    monkeypatch.setattr(session, "_GRACE_S", 0.2)
    marker = f"sandbox-{os.getpid()}"
    with fresh_places() as places:
        code = STUBBORN.format(marker=marker)
        assert asyncio.run(run(places, tmp_path, code, port_of(model), deadline_s=1.0)).timed_out
    assert marker not in subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("unshare", "--no-such-option"), "no sandbox for agent programs: unshare: unrecognized option"),
        (("no-such-program",), "no sandbox for agent programs: .*No such file or directory"),
    ],
)
def test_a_machine_without_namespaces_says_so(
    monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...], message: str
) -> None:
    monkeypatch.setattr(sandbox, "_UNSHARE", argv)
    with pytest.raises(PreflightError, match=message):
        check_sandbox()


@needs_namespaces
def test_a_pack_is_the_same_in_a_sandbox(tmp_path: Path) -> None:
    """The model and the world are reached, and nothing of them changes."""
    player, packs = player_of(), [pack_of()]
    found = inside(player, packs, fakes.LikeHermes(), tmp_path, sandbox="unshare")
    assert [without_performance(one) for one in found] == by_itself(player, packs)
