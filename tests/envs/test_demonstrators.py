"""Demonstrators reason in a sentence or two, say only what they know, and sound different from turn to turn."""

from __future__ import annotations

import asyncio

import pytest

from codctl.cod.conversation import ByteChat
from codctl.cod.prompts import parse_answer
from codctl.cod.rollout import Player, play_all
from codctl.cod.scripted import EachFamily, ScriptedAgent
from codctl.cod.settings import RolloutSettings
from codctl.cod.trajectory import Trajectory
from codctl.envs.base import Pack, Rendering
from codctl.envs.registry import get_family
from codctl.learner.demonstrations import TrueHints

WORLDS = [
    ("frozen_lake", "tiny"),
    ("frozen_lake", "easy"),
    ("alchemy", "tiny"),
    ("alchemy", "easy"),
    ("alchemy", "hard"),
    ("optimal_control", "easy"),
    ("optimal_control", "tiny"),
    ("learn2ask", "easy"),
]


def play(packs: list[Pack], rendering: Rendering) -> list[Trajectory]:
    """As in a warm start: hints are a random part of the truth, so that all that is known is true."""
    settings = RolloutSettings(rendering, solve_tokens=10**6, update_tokens=10**6)
    engine = ScriptedAgent(EachFamily("demonstrator", wrong_fact=0.0), ByteChat())
    player = Player(engine, ByteChat(), settings, 0, TrueHints(rendering, 0))
    return asyncio.run(play_all(player, packs, 1))


@pytest.mark.parametrize("rendering", ["full", "terse"])
@pytest.mark.parametrize(("name", "preset"), WORLDS)
def test_they_speak_before_they_answer_and_do_not_call_a_try_a_fact(
    name: str, preset: str, rendering: Rendering
) -> None:
    family = get_family(name)
    packs = [family.pack("train", index, 3, preset) for index in range(8)]
    thoughts, replies = set(), 0
    for trajectory, pack in zip(play(packs, rendering), packs, strict=True):
        for reply in (reply for episode in trajectory.of("solve") for reply in episode.replies):
            thought, answer = reply.split("\n")
            assert parse_answer(reply, strict=True).action
            assert answer.startswith("<answer>")
            assert len(thought.split()) <= (40 if rendering == "full" else 16)
            facts = "" if " try " in thought else thought
            assert family.score_context(pack.world, facts, []).wrong == 0
            thoughts.add(thought)
            replies += 1
        for update in trajectory.of("update"):
            assert update.replies[0].startswith("---") == (rendering == "terse")
            assert not update.format_error
    assert len(thoughts) > min(20, replies / 2)  # some worlds are played in one turn
    assert play(packs[:2], rendering) == play(packs[:2], rendering)


def test_where_the_way_is_blocked_a_demonstrator_says_that_it_goes_around() -> None:
    family = get_family("frozen_lake")
    packs = [family.pack("train", index, 3, "hard") for index in range(30)]
    said = [reply for t in play(packs, "full") for e in t.of("solve") for reply in e.replies]
    around = [reply for reply in said if "so I go around: " in reply]
    assert 0 < len(around) < len(said) / 4
