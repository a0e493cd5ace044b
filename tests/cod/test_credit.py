"""Returns and advantages: numbers worked out by hand, and what must hold for any rewards."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from codctl.cod.context import Revision
from codctl.cod.credit import Array, CreditError, Returns, Rewards, advantages, credit_pack, returns
from codctl.cod.trajectory import EpisodeRecord, Trajectory
from codctl.config.schema import CreditConfig
from codctl.envs.base import HintScore

NAN = float("nan")
PLAIN = CreditConfig()
SCALED = CreditConfig(scale_by_std=True)
RULES = [
    CreditConfig(returns="mean_to_go"),
    CreditConfig(returns="window", window=2),
    CreditConfig(returns="discounted", discount=0.5),
    CreditConfig(returns="window_of_tasks", window=2),
    CreditConfig(returns="discounted_tasks", discount=0.5),
    CreditConfig(returns="trajectory_sum"),
]
SOLVE = np.array([[1.0, 0, 1, 1], [0, 0, 1, 0], [0, 0, 0, 1]])
UPDATE = np.array([[0, -0.1, 0], [0, 0, 0], [-0.1, 0, 0]])

GOLDEN: dict[str, tuple[list[list[float]], list[list[float]]]] = {
    "mean_to_go": (
        [[3 / 4, 2 / 3, 1, 1], [1 / 4, 1 / 3, 1 / 2, 0], [1 / 4, 1 / 3, 1 / 2, 1]],
        [[2 / 4, 1.9 / 3, 1 / 2], [1 / 4, 1 / 3, 0], [0.9 / 4, 1 / 3, 1 / 2]],
    ),
    "window": (
        [[1 / 2, 1 / 2, 1, 1], [0, 1 / 2, 1 / 2, 0], [0, 0, 1 / 2, 1]],
        [[0, 0.9 / 2, 1 / 2], [0, 1 / 2, 0], [-0.1 / 2, 0, 1 / 2]],
    ),
    "discounted": (
        [[1.375, 0.75, 1.5, 1], [0.25, 0.5, 1, 0], [0.125, 0.25, 0.5, 1]],
        [[0.375, 0.65, 0.5], [0.25, 0.5, 0], [0.025, 0.25, 0.5]],
    ),
    "window_of_tasks": (
        [[1 / 2, 1 / 2, 1, 1], [0, 1 / 2, 1 / 2, 0], [0, 0, 1 / 2, 1]],
        [[1 / 3, 1.9 / 3, 1 / 2], [1 / 3, 1 / 3, 0], [-0.1 / 3, 1 / 3, 1 / 2]],
    ),
    "discounted_tasks": (
        [[1.375, 0.75, 1.5, 1], [0.25, 0.5, 1, 0], [0.125, 0.25, 0.5, 1]],
        [[0.75, 1.4, 1], [0.5, 1, 0], [0.15, 0.5, 1]],
    ),
    "trajectory_sum": (
        [[2.9] * 4, [1.0] * 4, [0.9] * 4],
        [[2.9] * 3, [1.0] * 3, [0.9] * 3],
    ),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.returns)
def test_golden_returns(rule: CreditConfig) -> None:
    found = returns(SOLVE, UPDATE, rule)
    solve, update = GOLDEN[rule.returns]
    np.testing.assert_allclose(found.solve_GS, solve, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.update_GU, update, rtol=0, atol=1e-12)


def test_golden_advantages() -> None:
    found = advantages(returns(SOLVE, UPDATE, PLAIN).solve_GS, PLAIN)
    np.testing.assert_allclose(found.baselines, [[1.25 / 3, 4 / 9, 2 / 3, 2 / 3]] * 3)
    np.testing.assert_allclose(
        found.advantages,
        [[1 / 3, 2 / 9, 1 / 3, 1 / 3], [-1 / 6, -1 / 9, -1 / 6, -2 / 3], [-1 / 6, -1 / 9, -1 / 6, 1 / 3]],
    )
    update = advantages(returns(SOLVE, UPDATE, PLAIN).update_GU, PLAIN)
    np.testing.assert_allclose(update.advantages[:, 2], [1 / 6, -1 / 3, 1 / 6])


def test_advantages_by_standard_deviation() -> None:
    found = advantages(np.array([[1.0, 2.0], [3.0, 2.0]]), SCALED)
    assert found.advantages.tolist() == [[-1.0, 0.0], [1.0, 0.0]]


def test_leave_one_out_by_hand() -> None:
    """Three returns 1, 0, 0.5 and, where one is missing, 1 and 0."""
    settings = CreditConfig(baseline="leave_one_out")
    found = advantages(np.array([[1.0, 1.0, 0.3], [0.0, 0.0, NAN], [0.5, NAN, NAN]]), settings)
    np.testing.assert_allclose(found.baselines[:, 0], [0.25, 0.75, 0.5])
    np.testing.assert_allclose(found.advantages[:, 0], [0.75, -0.75, 0.0])
    np.testing.assert_allclose(found.baselines[:2, 1], [0.0, 1.0])
    np.testing.assert_allclose(found.advantages[:, 1], [1.0, -1.0, 0.0])
    assert found.advantages[:, 2].tolist() == [0.0] * 3  # alone
    mean = advantages(np.array([[1.0], [0.0], [0.5]]), PLAIN)
    np.testing.assert_allclose(found.advantages[:, :1], mean.advantages * 3 / 2)  # G / (G − 1) times the usual ones


def half(rewards: Rewards, settings: CreditConfig) -> Returns:
    """A rule of somebody's own, with baselines of its own."""
    baseline = settings.options["baseline"]
    return Returns(
        rewards.solve_GS,
        rewards.update_GU,
        np.full_like(rewards.solve_GS, baseline),
        np.full_like(rewards.update_GU, baseline),
    )


def test_a_rule_of_ones_own_brings_returns_and_baselines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODCTL_TRUSTED", f"{__name__}:half\n{__name__}:short")
    settings = CreditConfig(returns=f"{__name__}:half", options={"baseline": 0.5})
    group = [trajectory(g, SOLVE[g].tolist(), UPDATE[g].tolist(), broken=3 if g == 2 else -1) for g in range(3)]
    credit = credit_pack(group, settings)
    assert credit.solve.advantages[:, 0].tolist() == [0.5, -0.5, -0.5]
    assert credit.solve.advantages[2, 3] == 0.0  # missing
    with pytest.raises(CreditError, match="gives returns of the shapes"):
        returns(SOLVE, UPDATE, CreditConfig(returns=f"{__name__}:short"))


def short(rewards: Rewards, settings: CreditConfig) -> Returns:
    return Returns(rewards.solve_GS[:, :1], rewards.update_GU)


def test_the_task_just_solved_is_not_in_the_update_after_it() -> None:
    other = SOLVE.copy()
    other[:, 0] = 1 - other[:, 0]
    for rule in RULES[:3]:
        before, after = returns(SOLVE, UPDATE, rule), returns(other, UPDATE, rule)
        np.testing.assert_array_equal(before.update_GU, after.update_GU)
        assert (before.solve_GS[:, 0] != after.solve_GS[:, 0]).all()


def test_window_one_is_the_reward_itself_and_a_wide_window_the_mean_to_go() -> None:
    np.testing.assert_array_equal(returns(SOLVE, UPDATE, CreditConfig(returns="window", window=1)).solve_GS, SOLVE)
    wide, whole = returns(SOLVE, UPDATE, CreditConfig(returns="window", window=9)), returns(SOLVE, UPDATE, PLAIN)
    np.testing.assert_array_equal(wide.solve_GS, whole.solve_GS)
    np.testing.assert_array_equal(wide.update_GU, whole.update_GU)


def test_a_missing_rollout_shrinks_its_group() -> None:
    solve = SOLVE.copy()
    solve[2, 3] = NAN
    found = returns(solve, UPDATE, PLAIN)
    assert np.isnan(found.solve_GS).sum() == 1
    credit = advantages(found.solve_GS, PLAIN)
    np.testing.assert_allclose(credit.advantages[:, 3], [0.5, -0.5, 0])
    np.testing.assert_allclose(credit.baselines[:, 3], 0.5)
    alone = advantages(np.array([[NAN], [0.7], [NAN]]), PLAIN)
    assert alone.advantages.tolist() == [[0.0]] * 3
    nobody = advantages(np.full((3, 2), NAN), PLAIN)
    assert nobody.advantages.tolist() == [[0.0] * 2] * 3


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.returns)
def test_a_group_of_one_and_packs_of_one_task(rule: CreditConfig) -> None:
    one = returns(SOLVE[:1], UPDATE[:1], rule)
    assert not advantages(one.solve_GS, PLAIN).advantages.any()
    assert not advantages(one.update_GU, PLAIN).advantages.any()
    short = returns(SOLVE[:, :1], np.empty((3, 0)), rule)
    assert short.solve_GS[:, 0].tolist() == [1, 0, 0]
    assert short.update_GU.shape == advantages(short.update_GU, PLAIN).advantages.shape == (3, 0)


rewards = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda shape: st.tuples(
        arrays(float, shape, elements=st.sampled_from([0.0, 0.9125, 0.95, 1.0, 0.1, NAN])),
        arrays(float, (shape[0], shape[1] - 1), elements=st.sampled_from([0.0, -0.1, NAN])),
    )
)


@settings(max_examples=150, deadline=None)
@given(given=rewards, rule=st.sampled_from(RULES), scale=st.booleans(), seed=st.integers(0, 99))
def test_permuting_rollouts_permutes_advantages(
    given: tuple[Array, Array], rule: CreditConfig, scale: bool, seed: int
) -> None:
    solve, update = given
    order = np.random.default_rng(seed).permutation(len(solve))
    plain, mixed = returns(solve, update, rule), returns(solve[order], update[order], rule)
    for before, after in ((plain.solve_GS, mixed.solve_GS), (plain.update_GU, mixed.update_GU)):
        np.testing.assert_allclose(
            advantages(before, CreditConfig(scale_by_std=scale)).advantages[order],
            advantages(after, CreditConfig(scale_by_std=scale)).advantages,
            atol=1e-12,
        )


@settings(max_examples=150, deadline=None)
@given(given=rewards, rule=st.sampled_from(RULES), scale=st.booleans())
def test_advantages_sum_to_zero_in_every_slot_and_missing_ones_are_zero(
    given: tuple[Array, Array], rule: CreditConfig, scale: bool
) -> None:
    found = returns(*given, rule)
    for values in (found.solve_GS, found.update_GU):
        credit = advantages(values, CreditConfig(scale_by_std=scale))
        assert np.isfinite(credit.advantages).all()
        np.testing.assert_allclose(credit.advantages.sum(axis=0), 0, atol=1e-9)
        assert not credit.advantages[np.isnan(values)].any()


@settings(max_examples=500, deadline=None)
@given(
    row=st.lists(st.floats(0, 1), min_size=1, max_size=9),
    group=st.integers(1, 17),
    rule=st.sampled_from(RULES),
    scale=st.booleans(),
)
def test_identical_rewards_give_exactly_zero(row: list[float], group: int, rule: CreditConfig, scale: bool) -> None:
    found = returns(np.array([row] * group), np.full((group, len(row) - 1), -0.1), rule)
    for values in (found.solve_GS, found.update_GU):
        assert not advantages(values, CreditConfig(scale_by_std=scale)).advantages.any()


@pytest.mark.parametrize(
    ("solve", "update"), [((3, 4), (3, 4)), ((3, 4), (2, 3)), ((4,), (3,)), ((3, 0), (3, 0)), ((2, 3, 4), (2, 3, 3))]
)
def test_shapes_that_belong_to_no_pack(solve: tuple[int, ...], update: tuple[int, ...]) -> None:
    with pytest.raises(CreditError, match=r"expected \(G, S\) and \(G, S-1\)"):
        returns(np.zeros(solve), np.zeros(update), PLAIN)


# --- from trajectories ------------------------------------------------------------------------------------------------


def record(kind: str, position: int, reward: float, failed: str = "") -> EpisodeRecord:
    score = HintScore(0, 0, 4, 0, 0)
    return EpisodeRecord([], [], [], kind, position, [], reward, reward, 1, "", score, failed=failed)  # type: ignore[arg-type]


def trajectory(rollout: int, solve: list[float], update: list[float], pack: str = "p", broken: int = -1) -> Trajectory:
    episodes = []
    for position, reward in enumerate(solve):
        episodes.append(record("solve", position, reward, "no reply" if position == broken else ""))
        if position < len(update):
            episodes.append(record("update", position, update[position]))
    return Trajectory(pack, rollout, tuple(episodes), (Revision(),))


def test_a_pack_from_trajectories() -> None:
    group = [trajectory(g, SOLVE[g].tolist(), UPDATE[g].tolist()) for g in range(3)]
    credit = credit_pack(group, PLAIN)
    np.testing.assert_allclose(credit.solve.returns, GOLDEN["mean_to_go"][0])
    rows = [astuple(one) for one in credit.of(group, learned=3)]
    assert len(rows) == 3 * 7
    assert rows[2] == pytest.approx((2 / 3, 4 / 9, 2 / 9, 3))  # solve at position 1, by weights three steps old
    assert rows[8] == pytest.approx((1 / 4, 0.975 / 3, -0.075, 3))  # update after 0


def test_a_failed_episode_has_no_part_in_its_group() -> None:
    group = [trajectory(g, SOLVE[g].tolist(), UPDATE[g].tolist(), broken=3 if g == 2 else -1) for g in range(3)]
    credit = credit_pack(group, PLAIN)
    np.testing.assert_allclose(credit.solve.advantages[:, 3], [0.5, -0.5, 0])
    assert credit.of(group, learned=0)[-1].advantage == 0.0


def test_packs_are_not_mixed() -> None:
    with pytest.raises(CreditError, match="a group holds rollouts of one pack"):
        credit_pack([trajectory(0, [1], []), trajectory(1, [1], [], pack="other")], PLAIN)


def test_packs_of_one_task_from_trajectories() -> None:
    credit = credit_pack([trajectory(0, [1], []), trajectory(1, [0], [])], PLAIN)
    assert credit.solve.advantages.tolist() == [[0.5], [-0.5]]
    assert credit.update.advantages.shape == (2, 0)
