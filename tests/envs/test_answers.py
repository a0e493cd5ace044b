"""Answers as language models write them are read as the published parsers read them, or as tolerantly."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from codctl.cod.conversation import ByteChat
from codctl.cod.rollout import Player
from codctl.cod.scripted import ScriptedAgent
from codctl.cod.settings import RolloutSettings
from codctl.cod.trajectory import EpisodeRecord
from codctl.envs.base import Pack, PolicyView
from codctl.envs.registry import get_family
from tests.envs.gymnasium.worlds import Cliff
from tests.example_world.keypad import Keypad


class Says:
    def __init__(self, reply: str) -> None:
        self._reply = reply

    def solve(self, view: PolicyView, rng: Random) -> str:
        return self._reply

    def update(self, view: PolicyView, rng: Random) -> str:
        return "nothing"


def first(pack: Pack, reply: str, answers: str = "published") -> EpisodeRecord:
    settings = RolloutSettings("full", solve_tokens=10**6, update_tokens=10**6, answers=answers)  # type: ignore[arg-type]
    player = Player(ScriptedAgent(Says(reply), ByteChat()), ByteChat(), settings, 0)
    return asyncio.run(player.play(pack, 0)).episodes[0]


def lake() -> Pack:
    return get_family("frozen_lake").pack("test", 0, 1, "easy")


@pytest.mark.parametrize(
    "reply",
    [
        "<answer>K</answer>.",
        "<answer>K</answer> done",
        "**<answer>K</answer>**",
        "<answer>K.</answer>",
        "<answer>K because the goal is above</answer>",
        "<answer>k</answer>",
        "<answer>**K**</answer>",
        "<answer>'K'</answer>",
        "<answer>up: K</answer>",
    ],
)
def test_frozen_lake(reply: str) -> None:
    assert first(lake(), reply).actions[0] == "K"
    assert first(lake(), reply, "strict").format_error == (reply != "<answer>up: K</answer>")


@pytest.mark.parametrize("action", ["Kq", "north", "the K", "3"])
def test_what_is_no_code_stays_unreadable(action: str) -> None:
    record = first(lake(), f"<answer>{action}</answer>")
    assert (record.format_error, record.outcome) == (True, "no_action")


def test_alchemy() -> None:
    pack = get_family("alchemy").pack("test", 0, 1, "easy")
    first_name, second_name = pack.world.names[:2]
    plain = f"{first_name} + {second_name}"
    for written in (plain.upper(), f"**{first_name}** + `{second_name}`", f"{first_name}+{second_name}.", f'"{plain}"'):
        record = first(pack, f"So: <answer>{written}</answer> That is it.")
        assert record.actions[0] == plain
        assert not record.format_error
    lost = first(pack, f"<answer>two words + {second_name}</answer>")
    assert not lost.format_error
    assert "no element is called two_words" in lost.observations[1]
    assert first(pack, f"<answer>{first_name} ＋ {second_name}</answer>").format_error


@pytest.mark.parametrize("written", ["`ls -la`", "$ ls -la", "```bash\nls -la\n```", "ls -la"])
def test_terminal(written: str) -> None:
    assert (
        first(get_family("terminal").pack("test", 0, 1, "easy"), f"<answer>{written}</answer>").actions[0] == "ls -la"
    )


def test_gymnasium() -> None:
    family = Cliff()
    pack = family.pack("test", 0, 1, "default")
    assert first(pack, "<answer>**k**</answer>").actions[0] == "K"


def test_a_world_that_says_nothing_about_it_gets_markdown_off_only_where_it_must() -> None:
    pack = Keypad().pack("test", 0, 1, "easy")
    assert first(pack, "<answer>`1 2 3`.</answer>").actions[0] == "1 2 3"
    assert first(pack, "<answer>1 2 3</answer>").actions[0] == "1 2 3"
    assert first(pack, "<answer>one two three.</answer>").format_error
