"""Credit: rewards of a pack's rollouts → returns and baselines → advantages, for solve and update episodes.

How rewards become returns is a function of `Rewards`; one outside this package is named by an entry point of the group
`codctl.credits` or by `train.credit.returns=package.module:function`.

Shapes: G rollouts of one pack, S positions, U = S−1 updates. Update u is written after position u and read at u+1.
A missing episode (the engine failed) has the return NaN; it shrinks its group and has advantage 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codctl.cod.trajectory import Kind, Trajectory
from codctl.config.registries import CREDITS
from codctl.config.schema import CreditConfig
from codctl.errors import UsageError

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


class CreditError(UsageError):
    """The arrays do not belong to one pack."""


@dataclass(frozen=True)
class Rewards:
    """Rewards of the rollouts of one pack; 0 where the episode is missing.

    Attributes:
        solve_GS: Shaped solve rewards, in [0, 1].
        update_GU: Format rewards of the updates, at most 0.
        played_solve_GS: Whether the solve was played to its end.
        played_update_GU: Whether the update was.
    """

    solve_GS: Array
    update_GU: Array
    played_solve_GS: Mask
    played_update_GU: Mask

    @classmethod
    def of(cls, solve_GS: Array, update_GU: Array) -> Rewards:
        """From rewards that are NaN where the episode is missing.

        Raises:
            CreditError: The shapes do not belong to one pack.
        """
        solve, update = np.asarray(solve_GS, float), np.asarray(update_GU, float)
        if solve.ndim != 2 or solve.shape[1] < 1 or update.shape != (solve.shape[0], solve.shape[1] - 1):
            raise CreditError(f"rewards of shapes {solve.shape} and {update.shape}: expected (G, S) and (G, S-1)")
        return cls(np.nan_to_num(solve), np.nan_to_num(update), ~np.isnan(solve), ~np.isnan(update))


@dataclass(frozen=True)
class Returns:
    """Returns of both kinds, in the unit of the rewards.

    Attributes:
        solve_GS: Of the solves.
        update_GU: Of the updates.
        solve_baselines_GS: What each return is compared with; None leaves that to `train.credit.baseline`.
        update_baselines_GU: The same for the updates.
    """

    solve_GS: Array
    update_GU: Array
    solve_baselines_GS: Array | None = None
    update_baselines_GU: Array | None = None


ReturnRule = Callable[[Rewards, CreditConfig], Returns]
"""Turns rewards into returns. `CreditConfig.options` is for rules outside this package."""


def returns(solve_GS: Array, update_GU: Array, settings: CreditConfig) -> Returns:
    """Turn per-position rewards into per-episode returns, by `train.credit.returns`.

    A solve has the rewards of this and all later tasks to go; an update its own format reward and those of all later
    tasks, so the task just solved is not among them.

    Args:
        solve_GS: As in `Rewards`, NaN where the episode is missing.
        update_GU: The same.
        settings: The recipe's `train.credit`.

    Returns:
        Returns for both kinds. A missing reward counts as 0 for the others and gives a NaN return to its own episode.

    Raises:
        CreditError: The shapes do not belong to one pack, or the rule gives others.
    """
    rewards = Rewards.of(solve_GS, update_GU)
    found = CREDITS.get(settings.returns)(rewards, settings)
    if found.solve_GS.shape != rewards.solve_GS.shape or found.update_GU.shape != rewards.update_GU.shape:
        raise CreditError(
            f"train.credit.returns={settings.returns} gives returns of the shapes {found.solve_GS.shape} and "
            f"{found.update_GU.shape} for rewards of {rewards.solve_GS.shape} and {rewards.update_GU.shape}"
        )
    return Returns(
        np.where(rewards.played_solve_GS, found.solve_GS, np.nan),
        np.where(rewards.played_update_GU, found.update_GU, np.nan),
        found.solve_baselines_GS,
        found.update_baselines_GU,
    )


def mean_to_go(rewards: Rewards, settings: CreditConfig) -> Returns:
    """The mean of the rewards to go.

    Source: arXiv 2606.20002, appendix A, and trinity/algorithm/advantage_fn/cod_advantage.py of
    agentscope-ai/Trinity-RFT at 139d1c43 (styles `mean`, `sliding_window_mean` and `discounted`: this, `window` and
    `discounted`); deviations: a missing reward counts as 0.
    """
    return _by_position(rewards, _mean)


def window(rewards: Rewards, settings: CreditConfig) -> Returns:
    """The mean of the first `train.credit.window` rewards to go; an update's format reward is the first of them."""

    def combine(future_GT: Array, own_GO: Array) -> Array:
        return _mean(future_GT[:, : settings.window - own_GO.shape[1]], own_GO)

    return _by_position(rewards, combine)


def window_of_tasks(rewards: Rewards, settings: CreditConfig) -> Returns:
    """As `window`, but an update's format reward takes no place: beside it stand `train.credit.window` tasks."""
    return _by_position(rewards, lambda future_GT, own_GO: _mean(future_GT[:, : settings.window], own_GO))


def discounted(rewards: Rewards, settings: CreditConfig) -> Returns:
    """The sum with weights 1, γ, γ², …; an update's format reward is the first of them."""
    return _by_position(rewards, lambda future, own: _discounted(future, own, settings.discount, own.shape[1]))


def discounted_tasks(rewards: Rewards, settings: CreditConfig) -> Returns:
    """As `discounted`, but the first task after an update is not discounted."""
    return _by_position(rewards, lambda future, own: _discounted(future, own, settings.discount, 0))


def trajectory_sum(rewards: Rewards, settings: CreditConfig) -> Returns:
    """The sum of all rewards of the trajectory, for every episode of it: the coarse control."""
    total_G1 = rewards.solve_GS.sum(axis=1, keepdims=True) + rewards.update_GU.sum(axis=1, keepdims=True)
    return Returns(
        np.broadcast_to(total_G1, rewards.solve_GS.shape), np.broadcast_to(total_G1, rewards.update_GU.shape)
    )


def _by_position(rewards: Rewards, combine: Callable[[Array, Array], Array]) -> Returns:
    """Combine the solve rewards of this and later tasks, (G, T), with those of the episode's own, (G, 0 or 1)."""
    solve, update = rewards.solve_GS, rewards.update_GU
    found = Returns(np.empty_like(solve), np.empty_like(update))
    for position in range(solve.shape[1]):
        future_GT = solve[:, position:]
        found.solve_GS[:, position] = combine(future_GT, update[:, :0])
        if position:
            found.update_GU[:, position - 1] = combine(future_GT, update[:, position - 1 : position])
    return found


def _mean(future_GT: Array, own_GO: Array) -> Array:
    terms = future_GT.shape[1] + own_GO.shape[1]
    return np.asarray((own_GO.sum(axis=1) + future_GT.sum(axis=1)) / terms)


def _discounted(future_GT: Array, own_GO: Array, discount: float, places: int) -> Array:
    weights_T = discount ** (places + np.arange(future_GT.shape[1]))
    # Not `@`: BLAS may round equal rows differently, and equal rollouts must get equal returns.
    return np.asarray(own_GO.sum(axis=1) + (future_GT * weights_T).sum(axis=1))


_ROUNDING = 1e-9  # far below any difference between rewards, far above the rounding of their sums


@dataclass(frozen=True)
class Credit:
    """Return − baseline = advantage for one kind, each of shape (G, positions); advantages may then be scaled."""

    returns: Array
    baselines: Array
    advantages: Array


def advantages(returns_GP: Array, settings: CreditConfig, baselines_GP: Array | None = None) -> Credit:
    """Compare each return with a baseline: by default of its group, the rollouts of the same pack, kind and position.

    `mean` is the mean of the group, the rollout itself included; `leave_one_out` that of the others. NaN returns are
    left out and get advantage 0; so does a group of one.

    Args:
        returns_GP: NaN where the episode is missing.
        settings: The recipe's `train.credit`.
        baselines_GP: Baselines of a rule that has its own.

    Source: `leave_one_out`: arXiv 2402.14740, Eq. 8 (RLOO); deviations: none.
    """
    values = np.asarray(returns_GP, float)
    present = ~np.isnan(values)
    counts = present.sum(axis=0)
    sums = np.where(present, values, 0.0).sum(axis=0)
    means = np.broadcast_to(np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0), values.shape)
    # A group whose returns are equal but for rounding has no signal; scaling by its tiny deviation would invent one.
    spread = np.where(present, values, -np.inf).max(axis=0) - np.where(present, values, np.inf).min(axis=0)
    has_signal = present & (spread > _ROUNDING) & (counts > 1)
    difference = np.where(has_signal, values - means, 0.0)
    std = np.sqrt(np.divide((difference**2).sum(axis=0), np.maximum(counts, 1)))
    baselines = means
    if baselines_GP is not None:
        baselines = np.broadcast_to(np.asarray(baselines_GP, float), values.shape)
        difference = np.where(present, values - baselines, 0.0)
    elif settings.baseline == "leave_one_out":
        others = np.broadcast_to(np.maximum(counts - 1, 1), values.shape)
        baselines = np.where(present & (counts > 1), (sums - np.where(present, values, 0.0)) / others, means)
        difference = np.where(has_signal, values - baselines, 0.0)
    if settings.scale_by_std:
        difference = np.divide(difference, std, out=np.zeros_like(difference), where=std > 0)
    return Credit(values, np.asarray(baselines), difference)


@dataclass(frozen=True)
class EpisodeCredit:
    """The credit of one episode.

    Attributes:
        return_: NaN where the episode is missing.
        baseline: What it is compared with.
        advantage: What its sampled tokens carry.
        staleness: Rollout steps that the weights which played it were behind the learner's.
    """

    return_: float
    baseline: float
    advantage: float
    staleness: float = 0.0


@dataclass(frozen=True)
class PackCredit:
    """Credit of all episodes of the G rollouts of one pack."""

    solve: Credit
    update: Credit

    def of(self, group: Sequence[Trajectory], learned: int) -> list[EpisodeCredit]:
        """The credit of each episode, in the order of the trajectories' episodes.

        Args:
            group: The rollouts.
            learned: Rollout steps that the learner has made.
        """
        found = []
        for index, trajectory in enumerate(group):
            for episode in trajectory.episodes:
                credit = self.solve if episode.kind == "solve" else self.update
                at = (index, episode.position)
                found.append(
                    EpisodeCredit(
                        return_=float(credit.returns[at]),
                        baseline=float(credit.baselines[at]),
                        advantage=float(credit.advantages[at]),
                        staleness=0.0 if episode.failed else float(learned - episode.weight_version),
                    )
                )
        return found


def credit_pack(group: Sequence[Trajectory], settings: CreditConfig) -> PackCredit:
    """Credit the rollouts of one pack.

    Raises:
        CreditError: When the trajectories are not of one pack.
    """
    if len({trajectory.pack for trajectory in group}) != 1:
        raise CreditError("a group holds rollouts of one pack; got " + ", ".join({t.pack for t in group}))
    found = returns(_rewards(group, "solve"), _rewards(group, "update"), settings)
    return PackCredit(
        advantages(found.solve_GS, settings, found.solve_baselines_GS),
        advantages(found.update_GU, settings, found.update_baselines_GU),
    )


def _rewards(group: Sequence[Trajectory], kind: Kind) -> Array:
    rows = [[np.nan if e.failed else e.shaped_reward for e in trajectory.of(kind)] for trajectory in group]
    return np.array(rows, float).reshape(len(group), -1)
