"""The demonstrator: it trusts hints until they prove wrong, and writes them carelessly."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from codctl.cod.conversation import ByteChat
from codctl.cod.prompts import parse_answer
from codctl.cod.references import play_policy
from codctl.config.schema import Config
from codctl.envs.base import PolicyView, Rendering
from codctl.envs.terminal.family import Terminal
from codctl.envs.terminal.hints import claims, hint_from
from codctl.envs.terminal.rules import SLOTS, VERBS
from codctl.learner.demonstrations import demonstrations
from codctl.train.setup import rollout_settings

FAMILY = Terminal()


def played(index: int, hints: str, rendering: Rendering, preset: str = "easy", variant: str = "shared_world"):
    """The first task of a pack, played with some hints: the episode and all replies."""
    pack, agent, rng = FAMILY.pack("demonstration", index, 1, preset, variant), FAMILY.policy("demonstrator"), Random(0)
    episode, replies = pack.slots[0].begin(rendering), []
    while not episode.done:
        replies.append(agent.solve(PolicyView(pack, 0, episode, (), hints, rendering), rng))
        answer = parse_answer(replies[-1])
        assert not answer.problem
        episode.act(answer.action)
    return pack, episode, replies


@pytest.mark.parametrize("rendering", FAMILY.renderings)
@pytest.mark.parametrize("preset", FAMILY.presets)
def test_with_true_hints_it_solves_every_task_without_a_mistake(preset: str, rendering: Rendering) -> None:
    for index in range(20):
        world = FAMILY.pack("demonstration", index, 1, preset).world
        _, episode, _ = played(index, FAMILY.truth(world, rendering), rendering, preset)
        assert (episode.reward, [ran.failed for ran in episode.log]) == (1.0, [False] * len(episode.log))


def test_wrong_hints_are_given_up_once_an_answer_contradicts_them() -> None:
    solved = 0
    for index in range(30):
        truth = dict(FAMILY.pack("demonstration", index, 1, "easy").world.rules.truth)
        tools = [truth[verb] for verb in VERBS]
        lies = {**truth, **dict(zip(VERBS, [*tools[1:], tools[0]], strict=True))}
        _, episode, _ = played(index, hint_from(lies, "full"), "full")
        tried = [ran.command for ran in episode.log if ran.failed]
        assert len(tried) == len(set(tried))  # no mistake twice
        solved += episode.reward == 1.0
    assert solved > 24


@pytest.mark.parametrize("rendering", ["full", "terse"])
def test_it_says_why_in_a_sentence_or_two(rendering: Rendering) -> None:
    for index in range(10):
        for hints in ("", FAMILY.truth(FAMILY.pack("demonstration", index, 1, "easy").world, rendering)):
            _, _, replies = played(index, hints, rendering)
            for reply in replies:
                thought = reply.split("<answer>")[0].strip()
                assert thought.endswith(".")
                assert 3 <= len(thought.split()) <= (45 if rendering == "full" else 24)
                assert ("The hints say" in thought) <= bool(hints)


def test_as_published_it_needs_no_hints() -> None:
    for index in range(10):
        _, episode, _ = played(index, "", "terse", "hard", "paper")
        assert episode.reward == 1.0


@pytest.mark.parametrize("rendering", FAMILY.renderings)
def test_hints_are_written_carelessly(rendering: Rendering) -> None:
    agent, rng = FAMILY.policy("demonstrator", keep_fact=0.5, wrong_fact=0.5), Random(0)
    right = wrong = 0
    for index in range(60):
        pack = FAMILY.pack("demonstration", index, 1, "hard")
        view = PolicyView(pack, 0, pack.slots[0].begin(rendering), (), FAMILY.truth(pack.world, rendering), rendering)
        found = claims(agent.update(view, rng), pack.world.rules.surface)
        right += len(found & set(pack.world.rules.truth.items()))
        wrong += len(found - set(pack.world.rules.truth.items()))
    assert right / 60 == pytest.approx(0.5 * len(SLOTS), abs=0.7)
    assert 10 < wrong < 40


def test_it_is_the_same_in_every_run() -> None:
    packs = [FAMILY.pack("demonstration", index, 3, "easy") for index in range(4)]
    first, again = (
        [[(e.replies, e.hints) for e in t.episodes] for t in play_policy("demonstrator", packs, "terse", 0)]
        for _ in range(2)
    )
    assert first == again


@pytest.mark.parametrize("rendering", FAMILY.renderings)
def test_a_warm_start_can_play_it(rendering: Rendering) -> None:
    world = {"family": "terminal", "preset": "hard", "rendering": rendering, "length": 2}
    config = Config.model_validate({"world": world, "warm_start": {"packs": 3, "wrong_fact": 0.9}})
    episodes = demonstrations(config, ByteChat(), replace(rollout_settings(config), solve_tokens=10**6))
    assert [episode.kind for episode in episodes] == ["solve", "update", "solve"] * 3
    assert not any(episode.format_error or episode.failed for episode in episodes)
