"""Credit: rewards of a pack's rollouts → returns → advantages, for solve and update episodes.

Shapes: G rollouts of one pack, S positions, U = S−1 updates. Update u is written after position u and read at u+1.
A missing episode (the engine failed) is NaN in the rewards; it shrinks its group and has advantage 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from codctl.cod.trajectory import Trajectory
from codctl.errors import UsageError

Array = NDArray[np.float64]
ReturnKind = Literal["mean_to_go", "window", "discounted", "window_of_tasks", "discounted_tasks", "trajectory_sum"]


class CreditError(UsageError):
    """The arrays do not belong to one pack."""


@dataclass(frozen=True)
class CreditRule:
    """How rewards become returns and advantages; see `returns` and `advantages`."""

    returns: ReturnKind = "mean_to_go"
    window: int = 2
    discount: float = 0.9
    scale_by_std: bool = False


@dataclass(frozen=True)
class Returns:
    """Returns of both kinds: `solve_GS` of shape (G, S), `update_GU` of shape (G, S−1)."""

    solve_GS: Array
    update_GU: Array


def returns(solve_rewards_GS: Array, update_rewards_GU: Array, rule: CreditRule | None = None) -> Returns:
    """Turn per-position rewards into per-episode returns.

    A solve has the rewards of this and all later tasks to go; an update its own format reward and those of all later
    tasks, so the task just solved is not among them.

    Published: `mean_to_go` is their mean, `window` the mean of the first `window` of them, `discounted` their sum with
    weights 1, γ, γ², …. For an update its own format reward is the first of them.
    Of codctl: `window_of_tasks` and `discounted_tasks` treat solves the same, but an update's format reward takes no
    place: beside it stand `window` tasks, the next of them undiscounted. `trajectory_sum` gives every episode the sum
    of all rewards (the coarse control).

    Args:
        solve_rewards_GS: Shaped solve rewards, shape (G, S), in [0, 1]; NaN where the episode is missing.
        update_rewards_GU: Format rewards of the updates, shape (G, S−1), at most 0; NaN where missing.
        rule: Which returns; the paper's by default.

    Returns:
        Returns for both kinds, in the unit of the rewards. A missing reward counts as 0 for the others and gives a
        NaN return to its own episode.

    Raises:
        CreditError: When the shapes do not belong to one pack.

    Source: arXiv 2606.20002, appendix A, and trinity/algorithm/advantage_fn/cod_advantage.py of
    agentscope-ai/Trinity-RFT at 139d1c43 (styles `mean`, `sliding_window_mean` and `discounted`); deviations: a missing
    reward counts as 0.
    """
    rule = rule or CreditRule()
    solve, update = np.asarray(solve_rewards_GS, float), np.asarray(update_rewards_GU, float)
    if solve.ndim != 2 or solve.shape[1] < 1 or update.shape != (solve.shape[0], solve.shape[1] - 1):
        raise CreditError(f"rewards of shapes {solve.shape} and {update.shape}: expected (G, S) and (G, S-1)")
    solve_filled, update_filled = np.nan_to_num(solve), np.nan_to_num(update)
    length = solve.shape[1]
    solve_returns, update_returns = np.empty_like(solve), np.empty_like(update)
    for position in range(length):
        future = solve_filled[:, position:]
        solve_returns[:, position] = _combine(future, None, rule)
        if position:
            update_returns[:, position - 1] = _combine(future, update_filled[:, position - 1], rule)
    if rule.returns == "trajectory_sum":
        total = solve_filled.sum(axis=1, keepdims=True) + update_filled.sum(axis=1, keepdims=True)
        solve_returns[:], update_returns[:] = total, total
    solve_returns[np.isnan(solve)] = np.nan
    update_returns[np.isnan(update)] = np.nan
    return Returns(solve_returns, update_returns)


def _combine(future_GT: Array, format_G: Array | None, rule: CreditRule) -> Array:
    """Return of one position from the rewards of this and later tasks and, for an update, its format reward."""
    own_GO = np.empty((len(future_GT), 0)) if format_G is None else format_G[:, None]
    places = own_GO.shape[1] if rule.returns in ("window", "discounted") else 0  # that the format reward takes
    if rule.returns in ("discounted", "discounted_tasks"):
        weights_T = rule.discount ** (places + np.arange(future_GT.shape[1]))
        # Not `@`: BLAS may round equal rows differently, and equal rollouts must get equal returns.
        return np.asarray(own_GO.sum(axis=1) + (future_GT * weights_T).sum(axis=1))
    if rule.returns in ("window", "window_of_tasks"):
        future_GT = future_GT[:, : rule.window - places]
    terms = future_GT.shape[1] + own_GO.shape[1]
    return np.asarray((own_GO.sum(axis=1) + future_GT.sum(axis=1)) / terms)


_ROUNDING = 1e-9  # far below any difference between rewards, far above the rounding of their sums


@dataclass(frozen=True)
class Credit:
    """Return − baseline = advantage for one kind, each of shape (G, positions); baseline is the group's mean return."""

    returns: Array
    baselines: Array
    advantages: Array


def advantages(returns_GP: Array, *, scale_by_std: bool = False) -> Credit:
    """Compare each return with the mean of its group: the rollouts of the same pack, kind and position.

    The mean includes the rollout itself. NaN returns are left out of it and get advantage 0; so does a group of one.
    """
    values = np.asarray(returns_GP, float)
    present = ~np.isnan(values)
    counts = present.sum(axis=0)
    sums = np.where(present, values, 0.0).sum(axis=0)
    baselines = np.broadcast_to(np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0), values.shape)
    # A group whose returns are equal but for rounding has no signal; scaling by its tiny deviation would invent one.
    spread = np.where(present, values, -np.inf).max(axis=0) - np.where(present, values, np.inf).min(axis=0)
    difference = np.where(present & (spread > _ROUNDING) & (counts > 1), values - baselines, 0.0)
    if scale_by_std:
        std = np.sqrt(np.divide((difference**2).sum(axis=0), np.maximum(counts, 1)))
        difference = np.divide(difference, std, out=np.zeros_like(difference), where=std > 0)
    return Credit(values, np.asarray(baselines), difference)


@dataclass(frozen=True)
class PackCredit:
    """Credit of all episodes of the G rollouts of one pack."""

    solve: Credit
    update: Credit

    def rows(self, group: Sequence[Trajectory]) -> list[dict[str, float]]:
        """`return`, `baseline`, `advantage` of each episode, in the order of the trajectories' episodes."""
        found = []
        for index, trajectory in enumerate(group):
            for episode in trajectory.episodes:
                credit = self.solve if episode.kind == "solve" else self.update
                at = (index, episode.position)
                found.append(
                    {
                        "return": float(credit.returns[at]),
                        "baseline": float(credit.baselines[at]),
                        "advantage": float(credit.advantages[at]),
                    }
                )
        return found


def credit_pack(group: Sequence[Trajectory], rule: CreditRule | None = None) -> PackCredit:
    """Credit the rollouts of one pack.

    Raises:
        CreditError: When the trajectories are not of one pack.
    """
    rule = rule or CreditRule()
    if len({trajectory.pack for trajectory in group}) != 1:
        raise CreditError("a group holds rollouts of one pack; got " + ", ".join({t.pack for t in group}))
    found = returns(_rewards(group, "solve"), _rewards(group, "update"), rule)
    return PackCredit(
        advantages(found.solve_GS, scale_by_std=rule.scale_by_std),
        advantages(found.update_GU, scale_by_std=rule.scale_by_std),
    )


def _rewards(group: Sequence[Trajectory], kind: Literal["solve", "update"]) -> Array:
    rows = [[np.nan if e.failed else e.shaped_reward for e in trajectory.of(kind)] for trajectory in group]
    return np.array(rows, float).reshape(len(group), -1)
