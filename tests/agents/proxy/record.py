"""Record what a real agent program sends while it plays two tasks: `python -m tests.agents.proxy.record hermes`.

The last request of the second task holds all that was said in it. It is kept in `recorded/`, with long texts cut and
personal details masked; test_recorded.py replays it.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from codctl.agents.performer import AgentPerformer
from codctl.agents.program import PROGRAMS
from codctl.agents.proxy import server
from codctl.agents.proxy.answer import AnswerModel
from codctl.agents.proxy.models import ChatModel
from codctl.agents.proxy.server import ModelProxy
from codctl.agents.setup import AgentSetup
from codctl.cod.attempt import Attempt
from codctl.cod.conversation import ByteChat
from codctl.cod.rollout import Player
from codctl.cod.scripted import ScriptedAgent
from codctl.cod.settings import RolloutSettings
from codctl.envs.base import Pack, PolicyView
from codctl.envs.registry import get_family

RECORDED = Path(__file__).with_name("recorded")
SETTINGS = RolloutSettings("full", deadline_s=30)
_PACK = ("test", 3, 2, "easy")
_SHOWN = 160  # characters of a long text, and around hints
_PERSONAL = [
    (re.compile(r"codctl-\d+-\w+"), "codctl-session"),
    (
        re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
        "00000000-0000-0000-0000-000000000000",
    ),
    (re.compile(r"[0-9a-f]{32,}"), "0" * 32),
]
_HINTS = re.compile(rf".{{0,{_SHOWN}}}\[codctl hints .*\[/codctl hints\].{{0,{_SHOWN}}}", re.DOTALL)


def pack() -> Pack:
    return get_family("frozen_lake").pack(*_PACK)


class Models:
    """A scripted policy behind the proxy."""

    context_window = 131_072

    def solving(self, attempt: Attempt, seed: int) -> ChatModel:
        return AnswerModel(attempt)

    def updating(self, view: PolicyView, rollout: int, seed: int) -> ChatModel:
        raise AssertionError("the policy is asked")


def masked(value: Any) -> Any:
    """A request as it is kept: what tools returned stays whole, other long texts do not."""
    if isinstance(value, dict):
        is_result = value.get("role") == "tool" or value.get("type") == "tool_result"
        return {key: _impersonal(inner) if is_result else masked(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [masked(one) for one in value]
    if isinstance(value, str) and len(value) > 2 * _SHOWN:
        found = _HINTS.search(value)
        return _impersonal(f"…{found[0]}…" if found else f"{value[:_SHOWN]}…")
    return _impersonal(value)


def _impersonal(value: Any) -> Any:
    text = json.dumps(value, ensure_ascii=False)
    for pattern, replacement in _PERSONAL:
        text = pattern.sub(replacement, text)
    return json.loads(text)


async def record(name: str) -> dict[str, Any]:
    program, bodies, read = PROGRAMS.get(name), [], server._body

    async def kept(request: Any) -> dict[str, Any]:
        body = await read(request)
        bodies.append((request.url.path.partition("/v1/")[2], body))
        return body

    server._body = kept
    policy, chat = get_family("frozen_lake").policy("bayes"), ByteChat()
    setup = AgentSetup(name, program.title, program.version(), "answer")
    with tempfile.TemporaryDirectory() as folder:
        async with ModelProxy.open() as proxy:
            performer = AgentPerformer(program, setup, proxy, Path(folder), Models(), name="own")
            player = Player(ScriptedAgent(policy, chat), chat, SETTINGS, seed=5, performer=performer)
            played = await player.play(pack(), 0)
    path, body = bodies[-1]
    print(*(one.performance for one in played.episodes if one.kind == "solve"), sep="\n")
    return {
        "agent": name,
        "version": setup.version,
        "path": f"/v1/{path}",
        "hints": played.episodes[-1].hints,
        "replies": played.episodes[-1].replies,
        "body": masked(body),
    }


if __name__ == "__main__":
    for name in sys.argv[1:]:
        found = asyncio.run(record(name))
        RECORDED.mkdir(exist_ok=True)
        (RECORDED / f"{name}.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
