"""The world as a tool server, with the reference implementation's own client as the judge."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from mcp import Client, MCPError, StdioServerParameters

from codctl.agents.world import World
from codctl.agents.world_server import RELAY, WorldServer
from codctl.cod.attempt import Attempt
from codctl.cod.conversation import ByteChat, Conversation
from codctl.cod.engine import Generation
from codctl.cod.prompts import parse_answer
from codctl.cod.settings import RolloutSettings
from codctl.envs.base import PolicyView
from codctl.envs.registry import get_family

FAMILY = get_family("frozen_lake")
SETTINGS = RolloutSettings("full", deadline_s=30)


async def unasked(conversation: Conversation, turn: int) -> Generation:
    raise AssertionError("the world asks no model")


def attempt(index: int = 3, settings: RolloutSettings = SETTINGS) -> Attempt:
    pack = FAMILY.pack("test", index, 4, "easy")
    view = PolicyView(pack, 0, pack.slots[0].begin(settings.rendering), (), "", settings.rendering)
    return Attempt(view, settings, ByteChat(), 0, unasked)


def solution(played: Attempt) -> str:
    return parse_answer(FAMILY.policy("informed").solve(played.view, Random(0))).action


@asynccontextmanager
async def client(server: WorldServer, mode: str = "auto") -> AsyncIterator[Client]:
    command, *arguments = server.tools.argv
    parameters = StdioServerParameters(command=command, args=arguments)
    async with Client(parameters, mode=mode) as connected:  # type: ignore[arg-type]
        yield connected


async def call(connected: Client, tool: str, **arguments: Any) -> str:
    result = await connected.call_tool(tool, arguments)
    assert not result.is_error
    return str(result.content[0].text)  # type: ignore[union-attr]


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def in_time() -> None:
        async with asyncio.timeout(30):
            await test()

    asyncio.run(in_time())


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_task_is_played_through_the_reference_client(tmp_path: Path, mode: str) -> None:
    played = attempt()
    first, world = played.episode.observation, World(played)

    async def test() -> None:
        async with WorldServer.open(world.observe, world.act, tmp_path) as server, client(server, mode) as connected:
            assert connected.server_info.name == server.tools.name == "world"
            assert [tool.name for tool in (await connected.list_tools()).tools] == ["observe", "act"]
            assert await call(connected, "observe") == first
            told = ""
            while not played.episode.done:
                told = await call(connected, "act", text=f" **{solution(played)}** ")
            assert told == f"The task is over. {played.episode.feedback} Do not call act again."
            turns = played.episode.turns
            assert await call(connected, "act", text="anything") == await call(connected, "observe") == told
            assert (played.episode.reward, played.episode.turns, len(played.actions)) == (1.0, turns, turns)
            assert server.calls == turns + 3

    run(test)


def test_answers_are_read_as_in_the_rollout(tmp_path: Path) -> None:
    """Markdown around an action is taken off unless replies are read strictly."""
    strict = attempt(settings=replace(SETTINGS, answers="strict"))

    async def test() -> None:
        told = await World(strict).act(f"**{solution(strict)}**")
        assert strict.episode.unreadable
        assert told.startswith("The task is over. ")

    run(test)


def test_several_clients_play_one_world_in_turn(tmp_path: Path) -> None:
    asked: list[str] = []

    async def act(text: str) -> str:
        await asyncio.sleep(0.01)
        asked.append(text)
        return f"{text} was played"

    async def test() -> None:
        async with (
            WorldServer.open(lambda: "here", act, tmp_path) as server,
            client(server) as one,
            client(server) as two,
        ):
            told = await asyncio.gather(*(call(who, "act", text=str(n)) for n, who in enumerate([one, two, one, two])))
            assert told == [f"{n} was played" for n in range(4)]
            assert sorted(asked) == ["0", "1", "2", "3"]
            assert server.calls == 4

    run(test)


def test_acts_that_are_called_at_once_are_played_one_by_one() -> None:
    played = attempt()
    world, move = World(played), solution(played)

    async def test() -> None:
        await asyncio.gather(*(world.act(move) for _ in range(30)))
        assert played.episode.done
        assert played.episode.turns == len(played.actions) <= played.episode.max_turns

    run(test)


def test_wrong_calls_are_told_what_is_right(tmp_path: Path) -> None:
    world = World(attempt())

    async def test() -> None:
        async with (
            WorldServer.open(world.observe, world.act, tmp_path) as server,
            client(server, "legacy") as connected,
        ):
            result = await connected.call_tool("act", {"action": "K"})
            assert result.is_error
            assert result.content[0].text == "act needs the argument `text`, a string."  # type: ignore[union-attr]
            with pytest.raises(MCPError, match="there are two tools: observe and act"):
                await connected.call_tool("reset", {})
            with pytest.raises(MCPError) as refused:
                await connected.list_prompts()
            assert refused.value.error.code == -32601
            assert server.calls == 1

    run(test)


def request(method: str, number: Any = 1, **params: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode()


HOSTILE = [
    (b"not JSON", -32700),
    (b"[" * 100_000, -32700),
    (b"9" * 5000, -32700),
    (b"\xff\xfe", -32700),
    (b"[]", -32600),
    (b'"text"', -32600),
    (b'{"id": {}, "method": "ping"}', -32600),
    (b"x" * (3 << 20), -32600),
    (b'{"id": 1}', -32601),
    (b'{"id": 1, "method": ["ping"]}', -32601),
    (request("server/discover"), -32601),
    (b'{"id": 1, "method": "tools/call", "params": [1]}', -32602),
    (request("tools/call", name="observe", arguments=[1]), -32602),
    (request("tools/call", name=["act"]), -32602),
]


def test_hostile_lines_are_answered_and_end_nothing(tmp_path: Path) -> None:
    texts: list[str] = []

    async def act(text: str) -> str:
        texts.append(text)
        return "played"

    async def test() -> None:
        async with WorldServer.open(lambda: "here", act, tmp_path) as server:
            socket = server.tools.argv[-1]
            assert Path(socket).stat().st_mode & 0o777 == 0o600
            reader, writer = await asyncio.open_unix_connection(socket)
            for line, code in HOSTILE:
                writer.write(line + b"\n")
                assert json.loads(await reader.readline())["error"]["code"] == code, line[:60]
            writer.write(b"\n" + b'{"jsonrpc": "2.0", "method": "notifications/initialized"}\n')  # neither is answered
            writer.write(request("tools/call", "last", name="act", arguments={"text": "\ud800 up"}) + b"\n")
            answer = json.loads(await reader.readline())
            assert (answer["id"], answer["result"]["isError"], texts) == ("last", False, ["? up"])
            writer.close()

    run(test)


def test_any_protocol_version_is_echoed(tmp_path: Path) -> None:
    async def test() -> None:
        async with WorldServer.open(lambda: "", lambda text: asyncio.sleep(0, text), tmp_path) as server:
            reader, writer = await asyncio.open_unix_connection(server.tools.argv[-1])
            for version in ("2024-11-05", "2026-07-28", "2099-01-01"):
                writer.write(request("initialize", protocolVersion=version) + b"\n")
                assert json.loads(await reader.readline())["result"]["protocolVersion"] == version
            writer.close()

    run(test)


def test_a_crowd_is_turned_away_and_the_first_stay(tmp_path: Path) -> None:
    async def test() -> None:
        async with WorldServer.open(lambda: "here", lambda text: asyncio.sleep(0, text), tmp_path) as server:
            socket = server.tools.argv[-1]
            clients = [await asyncio.open_unix_connection(socket) for _ in range(20)]
            answers = []
            for reader, writer in clients:
                writer.write(request("ping") + b"\n")
                try:
                    answers.append(bool(await reader.readline()))
                except ConnectionError:
                    answers.append(False)
            for _, writer in clients:
                writer.close()
            assert answers == [True] * 16 + [False] * 4

    run(test)


def test_a_client_that_leaves_or_does_not_read_stops_nobody(tmp_path: Path) -> None:
    """Its action counts, others are answered, and the server closes."""
    started, texts = asyncio.Event(), []

    async def act(text: str) -> str:
        started.set()
        await asyncio.sleep(0.05)
        texts.append(text)
        return "x" * 100_000

    async def test() -> None:
        async with WorldServer.open(lambda: "y" * 100_000, act, tmp_path) as server:
            socket = server.tools.argv[-1]
            _, leaving = await asyncio.open_unix_connection(socket)
            leaving.write(request("tools/call", name="act", arguments={"text": "left"}) + b"\n")
            await started.wait()
            leaving.close()
            _, deaf = await asyncio.open_unix_connection(socket)
            deaf.write((request("tools/call", name="observe") + b"\n") * 50)
            async with client(server) as connected:
                assert await call(connected, "act", text="up") == "x" * 100_000
            assert texts == ["left", "up"]
        deaf.close()

    run(test)
    assert not list(tmp_path.iterdir())


def test_what_the_world_raises_is_raised_where_it_is_served(tmp_path: Path) -> None:
    async def act(text: str) -> str:
        raise ZeroDivisionError("a fault in a world")

    async def test() -> None:
        async with WorldServer.open(lambda: "", act, tmp_path) as server, client(server) as connected:
            result = await connected.call_tool("act", {"text": "up"})
            assert result.is_error
            assert result.content[0].text == "The world has failed. Stop now."  # type: ignore[union-attr]

    with pytest.raises(ZeroDivisionError):
        run(test)


def test_the_relay_stands_alone() -> None:
    """It says in one line where it cannot connect, and imports nothing that is codctl's."""
    assert len(RELAY.read_text().splitlines()) < 35
    shown = "import sys, runpy; sys.argv = ['relay', '/nowhere']\n"
    shown += f"try: runpy.run_path({str(RELAY)!r}, run_name='__main__')\nfinally: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", shown], capture_output=True, text=True, check=False)
    assert "FileNotFoundError" in done.stderr
    assert "socket" in done.stdout.split()
    assert "codctl" not in done.stdout
