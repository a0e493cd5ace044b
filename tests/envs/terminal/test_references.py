"""The scripted agents: how often they succeed by position, and what they write."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from math import sqrt
from random import Random

import pytest

from codctl.cod.references import play_policy
from codctl.cod.strategies import Cod, Distractor, Drift, Poison, Strategy, draw_pack
from codctl.cod.trajectory import Trajectory
from codctl.envs.base import PolicyView
from codctl.envs.terminal.family import Terminal
from codctl.envs.terminal.policies import InformedPolicy
from codctl.errors import UsageError

FAMILY = Terminal()
PACKS, LENGTH = 60, 4


@cache
def played(policy: str, preset: str, variant: str, packs: int = PACKS) -> list[Trajectory]:
    drawn = [FAMILY.pack("test", index, LENGTH, preset, variant) for index in range(packs)]
    return play_policy(policy, drawn, "compact", 0)


def success(trajectories: Iterable[Trajectory]) -> list[float]:
    rewards = [[episode.raw_reward for episode in t.of("solve")] for t in trajectories]
    return [sum(at) / len(at) for at in zip(*rewards, strict=True)]


@pytest.mark.parametrize(
    ("preset", "reference"), [("easy", [0.52, 0.89, 0.97, 0.99]), ("hard", [0.37, 0.98, 0.99, 0.99])]
)
def test_bayes_often_fails_cold_and_rarely_later(preset: str, reference: list[float]) -> None:
    for found, expected in zip(success(played("bayes", preset, "shared_world")), reference, strict=True):
        assert found == pytest.approx(expected, abs=3 * sqrt(expected * (1 - expected) / PACKS) + 0.02)


@pytest.mark.parametrize("preset", FAMILY.presets)
def test_nothing_is_to_be_learned_in_paper_worlds(preset: str) -> None:
    assert success(played("bayes", preset, "paper", 15)) == [1.0] * LENGTH
    assert {e.hints for t in played("bayes", preset, "paper", 15) for e in t.of("update")} == {"none"}


@pytest.mark.parametrize("variant", FAMILY.variants)
def test_random_gets_nowhere(variant: str) -> None:
    assert max(success(played("random", "hard", variant, 15))) < 0.1


def test_bayes_writes_only_true_hints_and_all_that_can_be_known() -> None:
    for trajectory in played("bayes", "easy", "shared_world"):
        for update in trajectory.of("update"):
            assert update.hint_score.wrong == 0
            assert update.hint_score.right == update.hint_score.knowable == update.hint_score.knowable_right > 0


def test_informed_writes_the_whole_truth() -> None:
    for trajectory in played("informed", "hard", "shared_world", 20):
        assert {(u.hint_score.right, u.hint_score.wrong) for u in trajectory.of("update")} == {(10, 0)}


def strategic(strategy: Strategy, length: int = 4) -> list[float]:
    packs = [draw_pack(FAMILY, strategy, "test", index, length, "easy") for index in range(20)]
    return success(play_policy("bayes", packs, "compact", 0))


def test_bayes_recovers_when_the_rules_change() -> None:
    found = strategic(Drift(2), 5)
    assert found[1] > 0.75 > found[2]
    assert found[4] > 0.75


def test_bayes_survives_lies_and_strangers() -> None:
    honest, lied_to = strategic(Cod()), strategic(Poison(0.5))
    assert sum(lied_to) < sum(honest)
    assert min(strategic(Distractor(FAMILY, "hard"))) > 0.2


def test_bayes_moves_by_copying_and_erasing_when_it_knows_only_these() -> None:
    """With the tools to copy and to erase known from an earlier task, a move needs no search."""
    for index in range(200):
        pack = FAMILY.pack("train", index, 1, "easy")
        if pack.tasks[0].kind == "rename":  # type: ignore[attr-defined]
            break
    rules = pack.world.rules
    before = pack.slots[0].begin("compact")
    site = before.site  # type: ignore[attr-defined]
    for line in (
        rules.truth["copy"],
        rules.truth["erase"],
        f"ssh -p {rules.truth['port']} {site.remote.identity.host}",
    ):
        before.act(line)
    episode, agent = pack.slots[0].begin("compact"), FAMILY.policy("bayes")
    lines = []
    while not episode.done:
        reply = agent.solve(PolicyView(pack, 0, episode, (before,), "", "compact"), Random(0))
        lines.append(reply.split()[1:3])
        episode.act(reply.removeprefix("<answer>").removesuffix("</answer>"))
    assert episode.reward == 1.0
    assert [words[0] for words in lines] == ["ssh", rules.truth["copy"], rules.truth["erase"]]


def test_unknown_policies_are_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown policy of terminal 'bayse'; did you mean .bayes."):
        FAMILY.policy("bayse")
    assert isinstance(FAMILY.policy("informed"), InformedPolicy)
