"""Measure, fit, commit: rules, memory, texts."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from codctl.cod.prompts import Account, update_messages
from codctl.envs.base import PolicyView, Step
from codctl.envs.pde_discovery.belief import believe
from codctl.envs.pde_discovery.episode import PdeEpisode
from codctl.envs.pde_discovery.family import PdeDiscovery
from codctl.envs.pde_discovery.policies import (
    DESIGN,
    candidates_action,
    commit_action,
    dictionary_action,
    sample_action,
)
from codctl.envs.pde_discovery.regression import kappa, regress
from codctl.envs.pde_discovery.terms import TERMS, columns
from codctl.envs.pde_discovery.tiny import TinyEpisode, TinyTask, TinyWorld, listed
from codctl.envs.pde_discovery.world import PdeTask, PdeWorld

FAMILY = PdeDiscovery()
WORLD = PdeWorld("train", ((0, 1.2), (2, -0.8)))
TASKS = tuple(PdeTask(number, 2.0, (0.5,), seed=number) for number in (1, 2, 3))


def begin(variant: str = "hints_only", task: int = 0, past: tuple[PdeEpisode, ...] = ()) -> PdeEpisode:
    family = FAMILY.in_variant(variant)
    begun = family.begin_after(WORLD, TASKS[task], "full", past)
    assert isinstance(begun, PdeEpisode)
    return begun


def finished(variant: str, task: int = 0, past: tuple[PdeEpisode, ...] = ()) -> PdeEpisode:
    episode = begin(variant, task, past)
    episode.act(sample_action(DESIGN))
    episode.act(candidates_action([(0, 2)]))
    assert episode.regression
    episode.act(commit_action(episode.regression.best.equation))
    assert episode.done
    return episode


def test_a_task_from_first_to_last() -> None:
    episode = begin()
    assert episode.observation == "Task 1.\nTurn 1 of 6. Sample points left: 6. Data sets: none yet."
    step = episode.act(sample_action(DESIGN[:5]))
    assert step.observation.startswith("5 points sampled as ds_t1_1: x 0.15 to 0.85, t 0 to 0 (mean 0), u ")
    assert step.observation.endswith("Turn 2 of 6. Sample points left: 1. Data sets: ds_t1_1.")
    step = episode.act(dictionary_action([0, 1, 2]))
    assert "Best of 6 fits to merged_all (5 points): f(u) = " in step.observation
    assert step.observation.count("\n") == 7  # a heading and five points
    assert episode.regression
    step = episode.act(commit_action(episode.regression.best.equation))
    assert step.done
    assert 0.5 < step.reward <= 1
    assert "eward" not in step.feedback
    told = update_messages("", Account(episode, "rules", (), None), "full")
    assert "eward:" not in told[-1]["content"]


@pytest.mark.parametrize(
    ("equation", "reward", "solved"),
    [
        ({0: 1.2, 2: -0.8}, 1.0, True),
        ({0: 1.2, 2: -0.4}, 1 / 1.2, True),
        ({0: 1.2}, 1 / 1.4, False),
        ({0: 1.2, 1: 0.2, 2: -0.8}, 1 / (1 + 0.1 + 1), False),
        ({1: 1.0}, 1 / (1 + 1.5), False),
    ],
)
def test_reward(equation: dict[int, float], reward: float, solved: bool) -> None:
    episode = begin()
    episode.act(sample_action(DESIGN))
    episode.act(candidates_action([tuple(equation)]))
    assert episode.regression
    best = episode.regression.candidates[0]
    best.equation.clear()  # as if the noise had led to this very fit
    best.equation.update(equation)
    step = episode.act(commit_action(equation))
    assert step.reward == pytest.approx(reward)
    assert (episode.outcome == "solved") == solved


def test_refusals_cost_a_turn_and_what_cannot_be_read_ends_the_task() -> None:
    episode = begin()
    commit = commit_action({0: 1.2, 2: -0.8})
    for action, said in (
        (commit, "only after sampling"),
        (dictionary_action([0]), "no data set 'merged_all'; sample first"),
        (sample_action(DESIGN * 2), "12 points were asked for and 6 are left"),
        (sample_action(DESIGN), "6 points sampled"),
        (commit, "only after a regression"),
    ):
        assert said in episode.act(action).observation
    step = episode.act("<run_sparse_regression><dictionary><term>v</term></dictionary></run_sparse_regression>")
    assert (step.done, step.reward, episode.outcome, episode.unreadable) == (True, 0.0, "turns", False)
    assert "no equation was committed" in step.feedback
    for action in ("commit", "<summarize_pack_evidence/>"):
        episode = begin()
        assert episode.act(action).reward == 0
        assert episode.unreadable
    episode = begin()
    episode.act(sample_action(DESIGN))
    episode.act(candidates_action([(0, 2)]))
    assert "one that the latest regression scored" in episode.act(commit_action({0: 1.2345})).observation


def test_any_scored_equation_may_be_committed() -> None:
    episode = begin()
    episode.act(sample_action(DESIGN))
    episode.act(dictionary_action(range(len(TERMS))))
    assert episode.regression
    assert len(episode.regression.candidates) == 15 + 105
    assert episode.act(commit_action(episode.regression.candidates[70].equation)).done


def test_what_the_environment_remembers() -> None:
    first = finished("environment")
    second = begin("environment", 1, (first,))
    assert "Data sets: ds_t1_1." in second.observation
    assert "What you committed in task 1 was fitted to 6 points" in second.observation
    said = second.act("<summarize_pack_evidence/>").observation
    assert "H1: task 1\n" in said
    assert first.committed
    revealed = second.act('<summarize_pack_evidence reveal_equations="true"/>').observation
    assert "H1: task 1, f(u) = 1.2*u - 0.8" in revealed or "f(u) = " in revealed
    second.act(sample_action(DESIGN))
    assert [data.name for data in second.known.values()] == ["ds_t1_1", "ds_t2_2"]
    for name, points in (("merged_all", 12), ("ds_t1_1", 6), ("merged_t2_t2", 6), ("merged_t1_t2", 12)):
        again = begin("environment", 2, (first, second))
        said = again.act(
            dictionary_action([0, 2]).replace("<dictionary>", f"<dataset_id>{name}</dataset_id><dictionary>")
        )
        assert f"({points} points)" in said.observation
    assert first.fitted in begin("environment", 1, (first,)).fitted
    # Nothing is kept elsewhere: another trajectory of the same pack begins afresh.
    assert begin("environment", 1).known == {}


def test_hints_only_remembers_nothing() -> None:
    first = finished("hints_only")
    second = begin("hints_only", 1, (first,))
    assert second.known == {}
    assert "committed" not in second.observation
    assert second.act(sample_action(DESIGN)).observation.startswith("6 points sampled as ds_t2_1")


def test_regression_drops_small_terms_and_orders_by_the_largest_error() -> None:
    u = np.linspace(0.1, 2.5, 12)
    y = columns(u) @ np.eye(15)[[0, 2]].T @ np.array([1.5, -0.6])
    found = regress(u, y, range(15), 2, 0.05)
    assert dict(found.best.equation) == {0: 1.5, 2: -0.6}
    errors = [candidate.error for candidate in found.candidates]
    assert errors == sorted(errors)
    assert len(errors) == 120
    only_u = regress(u, 1.5 * u, range(15), 2, 0.05)
    assert dict(only_u.best.equation) == {0: 1.5}
    rival = found.rival(found.best.support)
    assert rival
    assert rival.support != (0, 2)
    assert found.margin_of((0, 2), rival.error / 3) == pytest.approx(2.0)
    assert regress(u, y, range(15), 2, 1e9).best.equation == {}  # a threshold above all coefficients
    assert kappa(u, (0,)) == pytest.approx(1)
    one_point = regress(u[:1], y[:1], range(15), 3, 0.05)
    assert np.isfinite(one_point.best.error)


def test_belief_finds_the_support() -> None:
    data = finished("hints_only").datasets[0]
    belief = believe(data.u, data.y, 2)
    assert belief.best == (0, 2)
    assert belief.explains
    assert belief.equation == pytest.approx({0: 1.2, 2: -0.8}, rel=0.05)


def test_hint_scores() -> None:
    seen = [finished("hints_only", task) for task in range(3)]
    score = FAMILY.score_context(WORLD, "f(u) = 1.25*u - 0.6*u**3 + 1*sin(u)", seen)
    # Terms u and u**3 and the coefficient of u are right; sin(u) and the coefficient of u**3 are wrong.
    assert (score.right, score.wrong, score.missing, score.knowable, score.knowable_right) == (3, 2, 1, 4, 3)
    assert score.detail["normalised_l1"] == pytest.approx((0.05 + 0.2 + 1) / 2)
    assert FAMILY.score_context(WORLD, "u**3 with a negative sign", []).right == 1
    assert FAMILY.score_context(WORLD, "u**3 with a positive sign", []).wrong == 1
    assert FAMILY.score_context(WORLD, "", seen[:0]).knowable == 0


def test_tiny_shows_what_fits_and_not_what_is_right() -> None:
    world, task = TinyWorld(6), TinyTask((2, 6, 8), 1)
    episode = TinyEpisode(world, task, "compact")
    assert episode.observation == "fit p3 p7 p9"
    steps: list[Step] = [TinyEpisode(world, task, "compact").act(name) for name in ("p7", "p3", "p12")]
    assert [step.reward for step in steps] == [1, 0, 0]
    assert {step.feedback.split(" of ")[1] for step in steps} == {"p3 p7 p9"}
    assert episode.act("p13").done
    assert episode.unreadable
    later = TinyEpisode(world, TinyTask((0, 1, 2), 0), "compact", [episode])
    assert later.observation == "fit p7 p1 p2 before p3 p7 p9"
    assert TinyTask((2, 6, 8), 1).fitting(TinyWorld(2)) == (6, 2, 8)
    assert listed("Still possible: p3 p11. Not p4.") == [2, 10]
    scores = [FAMILY.score_context(world, hint, [episode]) for hint in ("p7", "p3 p7", "p3", "")]
    assert [(s.right, s.wrong, s.missing, s.knowable) for s in scores] == [
        (1, 0, 0, 0),
        (0, 0, 1, 0),
        (0, 1, 1, 0),
        (0, 0, 1, 0),
    ]


@pytest.mark.parametrize("preset", ["train", "tiny"])
def test_answers_are_read_out_of_what_stands_around_them(preset: str) -> None:
    pack = FAMILY.pack("test", 0, 1, preset)
    episode = pack.slots[0].begin("full")
    good = FAMILY.policy("informed").solve(PolicyView(pack, 0, episode, (), "", "full"), Random(0))
    action = good.removeprefix("<answer>").removesuffix("</answer>")
    assert FAMILY.answered(episode, f"```xml\n{action}\n```") == action
