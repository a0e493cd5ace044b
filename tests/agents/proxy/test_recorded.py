"""What real agent programs have sent, sent again: the model reads the same as it does without them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from codctl.agents.proxy.answer import AnswerModel
from codctl.agents.world import World
from codctl.cod.attempt import Attempt
from codctl.cod.conversation import ByteChat, Conversation
from codctl.cod.engine import Generation
from codctl.envs.base import PolicyView
from tests.agents.proxy.record import RECORDED, SETTINGS, pack
from tests.agents.proxy.serving import Place, Serving

CHAT = ByteChat()


def recorded() -> list[Path]:
    return sorted(RECORDED.glob("*.json"))


def attempt(replies: Sequence[str], hints: str) -> Attempt:
    """The second task, with a model that says what it said when it was recorded."""
    drawn = pack()
    episode = drawn.slots[1].begin(SETTINGS.rendering)

    async def make(conversation: Conversation, turn: int) -> Generation:
        ids = CHAT.reply(replies[turn])
        return Generation(ids, [0.0] * len(ids), "stop", 0)

    return Attempt(PolicyView(drawn, 1, episode, (), hints, SETTINGS.rendering), SETTINGS, CHAT, 0, make)


def requests(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The requests that led to the last one: up to each thing that the assistant said, and all of it."""
    messages = body["messages"]
    ends = [place for place, message in enumerate(messages) if message["role"] == "assistant"]
    return [{**body, "messages": messages[:end]} for end in (*ends, len(messages))]


def calls_in(message: dict[str, Any]) -> list[tuple[str, str, Any]]:
    """The calls in a message of either dialect: id, name, arguments."""
    if message.get("tool_calls"):
        return [
            (one["id"], one["function"]["name"], json.loads(one["function"]["arguments"]))
            for one in message["tool_calls"]
        ]
    blocks = message["content"] if isinstance(message["content"], list) else []
    return [(one["id"], one["name"], one["input"]) for one in blocks if one["type"] == "tool_use"]


async def answered(place: Place, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The reply to a recorded request, whole, after it was also taken as a stream."""
    asked = {**body, "stream": False}
    reply = (await place.http.post(f"{place.session.url}{path}", json=asked)).raise_for_status().json()
    streamed = await place.http.post(f"{place.session.url}{path}", json=body)
    assert streamed.raise_for_status().headers["content-type"].startswith("text/event-stream")
    return reply["choices"][0]["message"] if "choices" in reply else reply


def test_all_four_are_recorded() -> None:
    assert [path.stem for path in recorded()] == ["claude-code", "hermes", "openclaw", "qwenpaw"]


@pytest.mark.parametrize("path", recorded(), ids=lambda path: path.stem)
def test_a_recorded_session_goes_as_it_went(serving: Serving, path: Path, tmp_path: Path) -> None:
    kept = json.loads(path.read_text())
    through, direct = (attempt(kept["replies"], hints) for hints in ("not these", kept["hints"]))
    world = World(through)

    async def main() -> None:
        async with serving.session(AnswerModel(through), tmp_path) as place:
            *asked, last = requests(kept["body"])
            for request, said in zip(asked, requests_answered(kept["body"]), strict=True):
                reply = await answered(place, kept["path"], request)
                ((number, name, given),) = calls_in(reply)
                assert [(number, name, given)] == calls_in(said)
                if name.endswith("act"):
                    await world.act(given["text"])
            assert not calls_in(await answered(place, kept["path"], last))

        observation = None
        while not direct.episode.done:
            answer = await direct.ask(observation)
            observation = (await direct.act(answer.action)).observation

    serving.run(main())
    assert through.conversation.ids == direct.conversation.ids
    assert (through.episode.reward, through.episode.turns) == (direct.episode.reward, direct.episode.turns)
    assert through.episode.reward == 1
    first = json.loads((tmp_path / "exchanges.jsonl").read_text().splitlines()[0])
    assert first["protocol"] == "answer"
    roles = [message["role"] for message in first["request"]["messages"]]
    assert roles == ["system", "user"]
    assert "metadata" not in first["request"]


def requests_answered(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [message for message in body["messages"] if message["role"] == "assistant"]
