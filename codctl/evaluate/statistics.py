"""Means and 95 % intervals over packs, and over training runs.

Packs are the unit that is drawn at random: positions of one pack share a world and episodes of one pack share hints,
so whole packs are resampled. Shape suffixes: K training seeds, P packs, S positions, R resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True)
class Crossed:
    """Several training seeds on the same packs. Shape suffix: C columns, whatever is measured of a pack.

    Attributes:
        mean_C: Mean of the seeds' means.
        low_C: Lower end of its 95 % interval, over seeds and packs.
        high_C: Upper end.
        mean_KC: Mean of each seed.
    """

    mean_C: Floats
    low_C: Floats
    high_C: Floats
    mean_KC: Floats


def bootstrap_crossed(
    tables_PC: Sequence[ArrayLike], *, seed: int = 0, resamples: int = 2000, groups_P: ArrayLike | None = None
) -> Crossed:
    """Draw training seeds and packs again and again, for "would other seeds and other packs change this?".

    Seeds and packs are crossed: all seeds play the same packs, so a resample draws its packs once for all of them. The
    means of two seeds also differ because an episode is a matter of luck, which the draw of packs has counted already;
    only what they differ beyond that is drawn as a difference between seeds. The variance of the resamples is then that
    of a mean under crossed random effects, σ²(seed) / K + σ²(pack) / P + σ²(rest) / (K P), each part estimated without
    bias (but never below 0). With one seed only the packs are drawn.

    Args:
        tables_PC: Packs × columns for each training seed; NaN where there is none.
        seed: Seed of the resampling.
        resamples: How many.
        groups_P: Packs with the same number share a world and are drawn together; without it each stands alone.
    """
    tables = [_two_dimensional(table) for table in tables_PC]
    packs, seeds = np.random.default_rng(seed).spawn(2)
    means_RKC = _resampled_means(np.hstack(tables), packs, resamples, groups_P).reshape(resamples, len(tables), -1)
    mean_KC = np.stack([_mean(table) for table in tables])
    low_C, high_C = _interval(means_RKC.mean(axis=1) + _drawn_seeds(mean_KC, means_RKC, seeds))
    return Crossed(np.mean(mean_KC, axis=0), low_C, high_C, mean_KC)


def _drawn_seeds(mean_KC: Floats, means_RKC: Floats, rng: np.random.Generator) -> Floats | float:
    """What the draw of the seeds adds to each resample, shape (R, C); nothing for a single seed."""
    count = len(mean_KC)
    if count == 1:
        return 0.0
    noise_C = np.var(means_RKC - means_RKC.mean(axis=1, keepdims=True), axis=0).mean(axis=0) * count / (count - 1)
    spread_C = np.var(mean_KC, axis=0, ddof=1)
    wanted_C = np.sqrt(np.maximum(spread_C - noise_C, 0.0))
    seen_C = np.sqrt(np.var(mean_KC, axis=0))  # a draw from the seeds at hand has this spread
    scale_C = np.divide(wanted_C, seen_C, out=np.zeros_like(seen_C), where=seen_C > 0)
    weights_RK = rng.multinomial(count, np.full(count, 1 / count), size=len(means_RKC)) / count
    drawn: Floats = weights_RK @ ((mean_KC - mean_KC.mean(axis=0)) * scale_C)
    return drawn


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
