"""Means and 95 % intervals over packs, and over training runs. The only place that decides an interval.

Packs are the unit that is drawn at random: positions of one pack share a world, episodes of one pack share hints, and
several sampling seeds play the same packs. So a pack counts once, however many episodes it has. Training seeds are
crossed with packs: all of them play the same ones.

* **Shares** (success, hint correctness, shaped reward) have Wilson's interval, which has a width at 0 of n and n of n
  too. Where a pack's value is a mean of several episodes, or packs share a world, n is the number of independent
  episodes that would give the measured variance.
* **Differences** within packs (gain, own hints less no hints) have Bonett and Price's interval for paired proportions:
  the normal interval after two packs are added, one that gains a task and one that loses one. Where all packs agree it
  has a width.
* **Raw rewards** between failure and success have the interval of shares, on the scale from the least to the greatest.
  How they differ within packs, and their share of what knowing the world gains, have a percentile bootstrap over packs
  with a fixed seed: numerator and denominator are of the same packs, so they are drawn together.
* **Several training seeds**: the half widths that seeds and packs leave open add as squares. That of the seeds has a t
  quantile with one degree of freedom less than there are seeds, and is wide for few. No interval is narrower than that
  of the packs alone.

`experiments/bench/coverage.py` measures how often they hold the truth. Shape suffixes: K training seeds, P packs,
G groups of packs that share a world, S positions, C columns (whatever is measured of a pack).

Sources: Wilson 1927; Bonett and Price 2012, "Adjusted Wald confidence interval for a difference of binomial proportions
based on paired data"; effective sample sizes as in Korn and Graubard 1998.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from codctl.runs.eval_result import Estimate

Floats = NDArray[np.float64]

FEW_PACKS = 20  # of fewer, an interval rules out little
_LEVEL = 0.975
_RESAMPLES = 2000
_NORMAL = NormalDist().inv_cdf(_LEVEL)


@dataclass(frozen=True)
class Estimates:
    """Means with their 95 % intervals, one for each column; NaN where nothing is known.

    Attributes:
        mean_C: Mean over the training seeds' means.
        low_C: Lower end of its interval.
        high_C: Upper end.
        mean_KC: Mean of each training seed.
    """

    mean_C: Floats
    low_C: Floats
    high_C: Floats
    mean_KC: Floats


def shares(tables_PC: Sequence[ArrayLike], groups_P: ArrayLike | None = None) -> Estimates:
    """Means of values between 0 and 1.

    Args:
        tables_PC: Packs × columns for each training seed; NaN where there is none.
        groups_P: Packs with the same number share a world and count as one; without it each stands alone.
    """
    return _shares(_spread(_stacked(tables_PC), _numbered(tables_PC, groups_P)))


def differences(tables_PC: Sequence[ArrayLike], groups_P: ArrayLike | None = None, reach: float = 1.0) -> Estimates:
    """Means of differences within packs.

    Args:
        tables_PC: Packs × columns for each training seed; NaN where there is none.
        groups_P: Packs with the same number share a world and count as one; without it each stands alone.
        reach: The largest difference there can be: the interval ends there. Of a sum over tasks it is their number, and
            the packs that the method adds still differ by one task.
    """
    values_KPC, groups = _stacked(tables_PC), _numbered(tables_PC, groups_P)
    mean_KC = _spread(values_KPC, groups).mean_KC
    ends = np.broadcast_to(np.array([1.0, -1.0])[None, :, None], (len(values_KPC), 2, values_KPC.shape[2]))
    more = groups.max() + 1
    widened = _spread(np.concatenate([values_KPC, ends], axis=1), np.append(groups, [more, more + 1]), added=2)
    mean_C, centre_C, half_C = mean_KC.mean(axis=0), widened.mean_KC.mean(axis=0), np.sqrt(widened.half_squared_C)
    half_C = np.where(np.isnan(mean_C), np.nan, half_C)
    return Estimates(mean_C, np.maximum(centre_C - half_C, -reach), np.minimum(centre_C + half_C, reach), mean_KC)


def means(
    tables_PC: Sequence[ArrayLike], groups_P: ArrayLike | None = None, ends: tuple[float, float] = (0.0, 1.0)
) -> Estimates:
    """Means of values between two ends, as `shares`.

    Args:
        tables_PC: Packs × columns for each training seed; NaN where there is none.
        groups_P: Packs with the same number share a world and count as one; without it each stands alone.
        ends: The least and the greatest value there can be.
    """
    least, reach = ends[0], ends[1] - ends[0]
    found = shares([(np.asarray(table_PC, dtype=np.float64) - least) / reach for table_PC in tables_PC], groups_P)
    return Estimates(*(values * reach + least for values in (found.mean_C, found.low_C, found.high_C, found.mean_KC)))


def gains(tables_PS: Sequence[ArrayLike], groups_P: ArrayLike | None = None) -> Estimates:
    """Mean of a measure at the last position less that at the first, within packs; one column."""
    values_KPS = _stacked(tables_PS)
    return averages(values_KPS[:, :, -1:] - values_KPS[:, :, :1], groups_P)


def averages(tables_PC: ArrayLike, groups_P: ArrayLike | None = None) -> Estimates:
    """Means of values that may be anything.

    Args:
        tables_PC: Packs × columns for each training seed; NaN where there is none.
        groups_P: Packs with the same number share a world and count as one; without it each stands alone.
    """
    values_KPC = np.asarray(tables_PC, dtype=np.float64)
    known_KPC = ~np.isnan(values_KPC)
    groups = _numbered(values_KPC, groups_P)
    return _resampled(np.where(known_KPC, values_KPC, 0.0), known_KPC.astype(np.float64), groups)


def scaled(
    tables_PS: Sequence[ArrayLike], random_PS: ArrayLike, informed_PS: ArrayLike, groups_P: ArrayLike | None = None
) -> Estimates:
    """Share that an agent has of what knowing the world gains: (reward − random) / (informed − random), in means.

    All three have played the same packs. Unknown (NaN) where knowing the world does not surely gain anything.

    Args:
        tables_PS: Raw rewards, packs × positions, for each training seed; NaN where there is none.
        random_PS: Of the random policy.
        informed_PS: Of the policy that knows the world.
        groups_P: Packs with the same number share a world and count as one; without it each stands alone.

    Returns:
        A column for each position, and behind them the last position's share less the first's.
    """
    least_PS, most_PS = np.asarray(random_PS, dtype=np.float64), np.asarray(informed_PS, dtype=np.float64)
    above_KPS = _stacked(tables_PS) - least_PS
    whole_KPS = np.broadcast_to(most_PS - least_PS, above_KPS.shape)
    known_KPS = ~np.isnan(above_KPS) & ~np.isnan(whole_KPS)
    parts = [np.where(known_KPS, values, 0.0) for values in (above_KPS, whole_KPS)]
    return _resampled(parts[0], parts[1], _numbered(tables_PS, groups_P), of_share=True)


def _resampled(above_KPC: Floats, below_KPC: Floats, groups: NDArray[np.int64], *, of_share: bool = False) -> Estimates:
    """Ratios of sums over packs, with a bootstrap over groups of packs.

    Args:
        above_KPC: Numerators.
        below_KPC: Denominators; counts give means.
        groups: Group of each pack, counted from 0.
        of_share: Denominators are differences, which may be about zero; and a column is added, the last ratio less the
            first.
    """
    above_KGC, below_KGC = _by_group(above_KPC, groups), _by_group(below_KPC, groups)
    count = above_KGC.shape[1]
    weights_BG = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), _RESAMPLES)
    drawn_BC = _ratio(weights_BG @ above_KGC.sum(axis=0), weights_BG @ below_KGC.sum(axis=0))
    mean_C = _ratio(above_KGC.sum(axis=(0, 1)), below_KGC.sum(axis=(0, 1)))
    mean_KC = _ratio(above_KGC.sum(axis=1), below_KGC.sum(axis=1))
    if of_share:
        # A denominator that is not surely above zero says nothing, nor does a single pack.
        unsure_C = (np.isnan(drawn_BC).mean(axis=0) > 1 - _LEVEL) | (count < 2)
        mean_C, mean_KC = (np.where(unsure_C, np.nan, values) for values in (mean_C, mean_KC))
        drawn_BC, mean_C, mean_KC = (
            np.concatenate([values, values[..., -1:] - values[..., :1]], axis=-1)
            for values in (drawn_BC, mean_C, mean_KC)
        )
    low_C, high_C = (_quantile(drawn_BC, level) for level in (1 - _LEVEL, _LEVEL))
    seeds = len(mean_KC)
    spread_C = _t(seeds - 1) ** 2 * np.var(mean_KC, axis=0, ddof=1) / seeds if seeds > 1 else np.zeros_like(mean_C)
    low_C = mean_C - np.sqrt(np.square(np.maximum(mean_C - low_C, 0.0)) + spread_C)
    high_C = mean_C + np.sqrt(np.square(np.maximum(high_C - mean_C, 0.0)) + spread_C)
    return Estimates(mean_C, low_C, high_C, mean_KC)


def _ratio(above: Floats, below: Floats) -> Floats:
    """Unknown where the denominator is not above zero."""
    found: Floats = np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)
    return found


def _quantile(drawn_BC: Floats, level: float) -> Floats:
    """Of the draws that are known; NaN where none is."""
    known_C = ~np.isnan(drawn_BC).all(axis=0)
    found: Floats = np.full(drawn_BC.shape[1], np.nan)
    found[known_C] = np.nanquantile(drawn_BC[:, known_C], level, axis=0)
    return found


@dataclass(frozen=True)
class _Spread:
    """What the means vary by.

    Attributes:
        mean_KC: Mean of each training seed.
        variance_C: Of the mean over seeds.
        half_squared_C: Square of half the interval's width, were it symmetric.
        groups_C: Packs, or groups of packs, with a value.
        quantile_C: Of the packs' part.
    """

    mean_KC: Floats
    variance_C: Floats
    half_squared_C: Floats
    groups_C: Floats
    quantile_C: Floats


def _spread(values_KPC: Floats, groups: NDArray[np.int64], added: int = 0) -> _Spread:
    """Unbiased variances of seeds, packs and luck, as in a crossed analysis of variance.

    With s², p² and e² for what seeds, packs and single episodes vary by, the variance of the mean is s²/K + p²/P +
    e²/KP. The seeds' means show the first and the last part together, packs as clusters the last two.

    Args:
        values_KPC: The values.
        groups: Group of each pack, counted from 0.
        added: How many of the packs were added by the method and count for no degree of freedom.
    """
    count = len(values_KPC)
    is_known_KPC = ~np.isnan(values_KPC)
    known_KC = is_known_KPC.sum(axis=1)
    filled_KPC = np.where(is_known_KPC, values_KPC, 0.0)
    mean_KC = np.where(known_KC > 0, filled_KPC.sum(axis=1) / np.maximum(known_KC, 1), np.nan)
    parts_KPC = np.where(is_known_KPC, values_KPC - mean_KC[:, None], 0.0) / np.maximum(known_KC, 1)[:, None]
    parts_KGC = _by_group(parts_KPC, groups)
    present_GC = _by_group(np.any(is_known_KPC, axis=0, keepdims=True).astype(np.float64), groups)[0]
    groups_C = np.maximum((present_GC > 0).sum(axis=0), 1).astype(np.float64)

    # The variance of single yes-or-no answers follows from their mean: no degree of freedom is lost on it.
    stands_alone = count == 1 and len(present_GC) == len(groups)
    is_plain_C = np.isin(np.abs(filled_KPC), (0.0, 1.0)).all(axis=(0, 1)) & stands_alone
    quantile_C = np.where(is_plain_C, _NORMAL, _t(groups_C - added - 1))
    correction_C = np.where(is_plain_C, 1.0, groups_C / np.maximum(groups_C - 1, 1))

    of_all_C = correction_C * np.square(parts_KGC.mean(axis=0)).sum(axis=0)
    of_seeds_C, packs_C = np.zeros_like(of_all_C), of_all_C
    if count > 1:
        of_each_C = correction_C * np.square(parts_KGC).mean(axis=0).sum(axis=0)
        packs_C = np.maximum(of_all_C - (of_each_C - of_all_C) / (count - 1), 0.0)
        of_seeds_C = np.var(mean_KC, axis=0, ddof=1) / count
    half_squared_C = np.square(quantile_C) * packs_C
    if count > 1:
        half_squared_C = half_squared_C + _t(count - 1) ** 2 * of_seeds_C
    return _Spread(
        mean_KC,
        np.maximum(of_seeds_C + packs_C, of_all_C),
        np.maximum(half_squared_C, np.square(quantile_C) * of_all_C),
        groups_C - added,
        quantile_C,
    )


def _shares(spread: _Spread) -> Estimates:
    """Wilson's interval, with the number of independent answers that have the same variance."""
    mean_C = spread.mean_KC.mean(axis=0)
    varies_C = spread.variance_C > 0
    variance_C = np.where(varies_C, spread.variance_C, 1.0)
    squared_C = np.where(varies_C, spread.half_squared_C / variance_C, np.square(spread.quantile_C))
    of_one_C = np.clip(mean_C * (1 - mean_C), 1e-12, None)
    weight_C = np.where(varies_C, squared_C * variance_C / of_one_C, squared_C / spread.groups_C)
    centre_C = (mean_C + weight_C / 2) / (1 + weight_C)
    half_C = np.sqrt(squared_C * variance_C + np.square(weight_C) / 4) / (1 + weight_C)
    # Where all packs agree: as many as Wilson admits at 0 of n could differ, and be anything.
    differ_C = weight_C / (1 + weight_C)
    low_C = np.where(varies_C, centre_C - half_C, mean_C * (1 - differ_C))
    high_C = np.where(varies_C, centre_C + half_C, mean_C + (1 - mean_C) * differ_C)
    return Estimates(mean_C, np.minimum(low_C, mean_C), np.maximum(high_C, mean_C), spread.mean_KC)


def _by_group(values_KPC: Floats, groups: NDArray[np.int64]) -> Floats:
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    found: Floats = np.add.reduceat(values_KPC[:, order], starts, axis=1)
    return found


def _t(freedom: ArrayLike) -> Floats:
    from scipy.special import stdtrit

    found: Floats = stdtrit(np.maximum(freedom, 1), _LEVEL)
    return found


def _numbered(tables_PC: Sequence[ArrayLike] | Floats, groups_P: ArrayLike | None) -> NDArray[np.int64]:
    """Groups as numbers from 0."""
    packs = np.arange(len(np.asarray(tables_PC[0])))
    return np.unique(packs if groups_P is None else groups_P, return_inverse=True)[1].astype(np.int64)


def _stacked(tables_PC: Sequence[ArrayLike]) -> Floats:
    values = np.asarray(tables_PC, dtype=np.float64)
    if values.ndim != 3 or 0 in values.shape:
        raise ValueError(f"expected seeds × packs × columns, each at least one, got shape {values.shape}")
    return values


def claim_of(gain: Estimate, lead: Estimate | None) -> str:
    """What a gain says: learns, improves (but not because of its hints), nothing, worsens.

    Args:
        gain: Of own hints.
        lead: Success with own hints less that without any; None when that was not played.
    """
    if gain.low > 0:
        return "learns" if lead is None or lead.low > 0 else "improves"
    return "worsens" if gain.high < 0 else "nothing"
