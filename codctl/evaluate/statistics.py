"""Means and 95 % intervals over packs, and over training runs.

Packs are the unit that is drawn at random: positions of one pack share a world and episodes of one pack share hints,
so whole packs are resampled. Shape suffixes: K training seeds, P packs, S positions, R resamples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_PERCENTILES = (2.5, 97.5)
_LARGEST_BLOCK = 2_000_000  # resample counts held at once


def bootstrap_by_pack(
    values_PS: ArrayLike, *, seed: int, resamples: int = 2000, groups_P: ArrayLike | None = None
) -> tuple[Floats, Floats, Floats]:
    """Mean by position with a 95 % percentile interval.

    Args:
        values_PS: One value for each pack and position; NaN where there is none. For a paired difference between two
            positions or two arms pass the difference, so that what packs have in common cancels.
        seed: Seed of the resampling.
        resamples: How many.
        groups_P: Packs with the same number share a world and are drawn together; without it each stands alone.

    Returns:
        Mean, lower and upper end, each of shape (S,). NaN where no pack has a value.
    """
    values = _two_dimensional(values_PS)
    return (_mean(values), *_interval(_resampled_means(values, np.random.default_rng(seed), resamples, groups_P)))


@dataclass(frozen=True)
class SeedSummary:
    """Several training runs evaluated on packs, the runs kept apart.

    Attributes:
        seeds: Training seeds, in order.
        mean_KS: Mean of each run.
        mean_S: Mean of these means.
        low_S: Lower end of the 95 % interval of `mean_S` for these very runs (packs resampled within each run).
        high_S: Upper end.
        spread_S: Standard deviation between the runs (ddof=1); NaN for a single run.
    """

    seeds: tuple[int, ...]
    mean_KS: Floats
    mean_S: Floats
    low_S: Floats
    high_S: Floats
    spread_S: Floats


def summarise_seeds(values_by_seed: Mapping[int, ArrayLike], *, seed: int, resamples: int = 2000) -> SeedSummary:
    """Summarise the same evaluation of several training runs.

    The interval answers "would other packs change this?", the spread "would another training seed?". Pooling the packs
    of all runs would mix the two and call a lucky seed a small error.

    Args:
        values_by_seed: Packs × positions for each training seed.
        seed: Seed of the resampling.
        resamples: How many.
    """
    seeds = tuple(sorted(values_by_seed))
    if not seeds:
        raise ValueError("no training seed to summarise")
    generators = np.random.default_rng(seed).spawn(len(seeds))
    tables = [_two_dimensional(values_by_seed[key]) for key in seeds]
    mean_KS = np.stack([_mean(table) for table in tables])
    resampled_RS = np.mean(
        [_resampled_means(table, rng, resamples) for table, rng in zip(tables, generators, strict=True)], axis=0
    )
    low_S, high_S = _interval(resampled_RS)
    spread_S = np.std(mean_KS, axis=0, ddof=1) if len(seeds) > 1 else np.full(mean_KS.shape[1], np.nan)
    return SeedSummary(seeds, mean_KS, np.mean(mean_KS, axis=0), low_S, high_S, spread_S)


def _two_dimensional(values_PS: ArrayLike) -> Floats:
    values = np.asarray(values_PS, dtype=np.float64)
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"expected packs × positions, both at least one, got shape {values.shape}")
    return values


def _mean(values_PS: Floats) -> Floats:
    return _weighted_means(np.ones((1, len(values_PS))), values_PS).reshape(-1)


def _resampled_means(
    values_PS: Floats, rng: np.random.Generator, resamples: int, groups_P: ArrayLike | None = None
) -> Floats:
    """Means of resampled packs: how often each is drawn is multinomial, so a matrix product does the rest."""
    group_of_P = np.unique(np.arange(len(values_PS)) if groups_P is None else groups_P, return_inverse=True)[1]
    groups = int(group_of_P.max()) + 1
    block = max(1, _LARGEST_BLOCK // len(values_PS))
    means = []
    for start in range(0, resamples, block):
        counts_RG = rng.multinomial(groups, np.full(groups, 1 / groups), size=min(block, resamples - start))
        counts_RP = counts_RG[:, group_of_P]
        means.append(_weighted_means(counts_RP.astype(np.float64), values_PS))
    return np.concatenate(means)


def _weighted_means(weights_RP: Floats, values_PS: Floats) -> Floats:
    present_PS = ~np.isnan(values_PS)
    sums_RS = weights_RP @ np.where(present_PS, values_PS, 0.0)
    weights_RS = weights_RP @ present_PS.astype(np.float64)
    return np.divide(sums_RS, weights_RS, out=np.full_like(sums_RS, np.nan), where=weights_RS > 0)


def _interval(means_RS: Floats) -> tuple[Floats, Floats]:
    ends = np.full((2, means_RS.shape[1]), np.nan)
    known_S = ~np.isnan(means_RS).all(axis=0)
    ends[:, known_S] = np.nanpercentile(means_RS[:, known_S], _PERCENTILES, axis=0)
    return ends[0], ends[1]
