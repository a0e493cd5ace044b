"""The scripted agents against the measured tables, and the belief against counting by hand."""

from __future__ import annotations

from functools import cache
from itertools import combinations
from math import comb, sqrt
from random import Random

import pytest

from codctl.cod.prompts import parse_answer
from codctl.cod.references import play_policy
from codctl.cod.strategies import Drift, Poison, draw_pack
from codctl.envs.base import SPLITS, Episode, PolicyView
from codctl.envs.learn2ask.belief import after_reading, after_scores, anything, best_reply, settled
from codctl.envs.learn2ask.scoring import reward
from codctl.envs.learn2ask.world import STOP, judged
from codctl.envs.registry import get_family

PACKS = 120


@cache
def rewards(policy: str, preset: str) -> list[list[float]]:
    """By position, of every pack. Solve episodes alone: these agents read no hints."""
    family = get_family("learn2ask")
    agent = family.policy(policy)
    found: list[list[float]] = [[] for _ in range(8)]
    for index in range(PACKS):
        pack, past = family.pack("test", index, 8, preset), list[Episode]()
        for position, slot in enumerate(pack.slots):
            view = PolicyView(pack, position, slot.begin("compact"), tuple(past), "", "compact")
            view.episode.act(parse_answer(agent.solve(view, Random(8 * index + position))).action)
            found[position].append(view.episode.reward)
            past.append(view.episode)
    return found


def curve(policy: str, preset: str) -> list[tuple[float, float]]:
    """Mean reward by position with its standard error."""
    found = []
    for values in rewards(policy, preset):
        mean = sum(values) / len(values)
        found.append((mean, sqrt(sum((v - mean) ** 2 for v in values) / len(values) / (len(values) - 1))))
    return found


# Measured with 400 packs (standard error up to .024) by an agent that learns from the scores of its replies alone.
TABLE = {
    "tiny": [0.764, 0.844, 0.909, 0.929, 0.973, 0.991, 0.987, 0.982],
    "easy": [0.733, 0.769, 0.835, 0.883, 0.914, 0.894, 0.953, 0.973],
    "hard": [0.651, 0.708, 0.742, 0.812, 0.844, 0.876, 0.919, 0.916],
}


@pytest.mark.parametrize("preset", TABLE)
def test_the_measured_table(preset: str) -> None:
    for (found, error), expected in zip(curve("scores_only", preset), TABLE[preset], strict=True):
        assert found == pytest.approx(expected, abs=4 * sqrt(error**2 + 0.024**2))


@pytest.mark.parametrize("preset", TABLE)
def test_what_each_agent_knows_shows_in_its_score(preset: str) -> None:
    means = {name: [mean for mean, _ in curve(name, preset)] for name in get_family("learn2ask").policies}
    assert means["informed"] == [1.0] * 8
    assert all(mean == pytest.approx(0.35, abs=0.16) for mean in means["stop"])
    flat = sum(means["forget"]) / 8
    assert all(mean == pytest.approx(flat, abs=0.14) for mean in means["forget"])
    assert means["bayes"][0] == means["forget"][0]
    assert means["bayes"][-1] > means["forget"][-1] + 0.15
    assert sum(means["bayes"]) > sum(means["scores_only"]) > sum(means["forget"]) > sum(means["random"])


def test_bayes_writes_only_true_hints_and_all_that_can_be_known() -> None:
    family = get_family("learn2ask")
    for trajectory in play_policy("bayes", [family.pack("test", i, 8, "easy") for i in range(30)], "compact", 0):
        for update in trajectory.of("update"):
            score = update.hint_score
            assert score.wrong == 0
            assert score.right == score.knowable == score.knowable_right


# --- the belief against counting --------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [0, 0b0001, 0b0110, 0b1111])
def test_reading_an_interview_weighs_sets_as_often_as_they_lead_to_it(known: int) -> None:
    """Bayes' rule by hand: stop in 35 %, else one or two are missing, each pair of them as likely."""
    belief = after_reading(anything(4, 2), known)
    for chosen in combinations(range(4), 2):
        missing = [point for point in chosen if not known >> point & 1]
        by_hand = 0.35 if not missing else 0.65 / 2 / comb(2, len(missing))
        assert belief[sum(1 << point for point in chosen)] == pytest.approx(by_hand)


def test_scores_leave_the_sets_that_would_have_given_them() -> None:
    belief = after_scores(anything(4, 2), 0, (3,), judged(0b1001, (3,)))
    assert set(belief) == {0b1001, 0b1010, 0b1100}
    assert settled(belief, 4) == {3: True}
    belief = after_scores(belief, 0, (1,), judged(0b1001, (1,)))
    assert settled(belief, 4) == {0: True, 1: False, 2: False, 3: True}


def test_the_best_reply_is_the_best_of_all() -> None:
    family = get_family("learn2ask")
    for split in SPLITS:
        for index in range(10):
            task = family.pack(split, index, 1, "easy").tasks[0]
            belief = after_reading(anything(6, 3), task.known)
            total = sum(belief.values())

            def worth(asked, belief=belief, known=task.known, total=total) -> float:
                return sum(w * reward(judged(n & ~known, asked)) for n, w in belief.items()) / total

            best = worth(best_reply(belief, 6, task.known))
            assert best == pytest.approx(max(map(worth, [STOP, *((point,) for point in range(6))])))


def test_newer_accounts_count_where_they_contradict_each_other() -> None:
    """Drift and poison: the agent recovers, and never fails."""
    family = get_family("learn2ask")
    for strategy in (Drift(), Poison(0.5)):
        packs = [draw_pack(family, strategy, "test", index, 8, "easy") for index in range(20)]
        for trajectory in play_policy("bayes", packs, "compact", 0):
            assert len(trajectory.of("solve")) == 8
            assert all(episode.outcome != "no_action" for episode in trajectory.of("solve"))
