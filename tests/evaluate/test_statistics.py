"""Intervals cover what they claim, and do not depend on how the work was split."""

from __future__ import annotations

import numpy as np
import pytest

from codctl.evaluate import statistics
from codctl.evaluate.statistics import bootstrap_by_pack, summarise_seeds


def _packs(packs: int, rates: list[float], seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random((packs, len(rates))) < rates).astype(float)


def test_golden() -> None:
    values = np.array([[0, 1], [1, 1], [0, 1], [1, 0], [0, 1]])
    mean, low, high = bootstrap_by_pack(values, seed=3, resamples=1000)
    assert mean.tolist() == [0.4, 0.8]
    assert low.tolist() == [0.0, 0.4]
    assert high.tolist() == [0.8, 1.0]


def test_matches_the_normal_interval_on_many_packs() -> None:
    values = _packs(2000, [0.3])
    mean, low, high = bootstrap_by_pack(values, seed=1)
    half = 1.96 * np.sqrt(mean[0] * (1 - mean[0]) / 2000)
    assert low[0] == pytest.approx(mean[0] - half, abs=0.002)
    assert high[0] == pytest.approx(mean[0] + half, abs=0.002)


def test_covers_the_truth_about_95_times_in_100() -> None:
    hits = 0
    for seed in range(300):
        _, low, high = bootstrap_by_pack(_packs(100, [0.6], seed), seed=seed, resamples=300)
        hits += int(low[0] <= 0.6 <= high[0])
    assert 0.90 <= hits / 300 <= 0.98


def test_same_seed_same_interval_whatever_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    values = _packs(50, [0.2, 0.7])
    whole = bootstrap_by_pack(values, seed=5, resamples=200)
    monkeypatch.setattr(statistics, "_LARGEST_BLOCK", 50 * 7)
    split = bootstrap_by_pack(values, seed=5, resamples=200)
    other = bootstrap_by_pack(values, seed=6, resamples=200)
    np.testing.assert_array_equal(whole, split)
    assert not np.array_equal(whole[1], other[1])


def test_whole_packs_are_resampled() -> None:
    """A difference within packs that is always the same has no spread, however noisy the packs are."""
    base = np.random.default_rng(0).random(40)
    mean, low, high = bootstrap_by_pack((base + 0.25 - base)[:, None], seed=0)
    assert mean[0] == pytest.approx(0.25)
    assert high[0] - low[0] < 1e-12


def test_missing_values() -> None:
    values = np.array([[1.0, np.nan, np.nan], [0.0, 1.0, np.nan], [np.nan, 0.0, np.nan]])
    mean, low, high = bootstrap_by_pack(values, seed=0)
    assert mean[:2].tolist() == [0.5, 0.5]
    assert np.isnan([mean[2], low[2], high[2]]).all()
    assert (low[:2] == 0).all()
    assert (high[:2] == 1).all()


def test_constant_values_have_no_width() -> None:
    mean, low, high = bootstrap_by_pack(np.ones((10, 2)), seed=0)
    assert mean.tolist() == low.tolist() == high.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("values", [[1.0, 0.0], np.zeros((0, 3)), np.zeros((3, 0))])
def test_wrong_shapes(values: object) -> None:
    with pytest.raises(ValueError, match="expected packs × positions"):
        bootstrap_by_pack(values, seed=0)


def test_training_seeds_are_kept_apart() -> None:
    """Three runs of different luck: a narrow interval over packs does not hide the spread between runs."""
    tables = {seed: _packs(1000, [0.4, rate], seed) for seed, rate in [(2, 0.6), (0, 0.9), (1, 0.75)]}
    found = summarise_seeds(tables, seed=0)
    assert found.seeds == (0, 1, 2)
    np.testing.assert_allclose(found.mean_KS[:, 1], [0.9, 0.75, 0.6], atol=0.04)
    np.testing.assert_allclose(found.mean_S, found.mean_KS.mean(axis=0))
    assert found.spread_S[1] == pytest.approx(0.15, abs=0.03)
    assert found.high_S[1] - found.low_S[1] < 0.05
    assert (found.low_S <= found.mean_S).all()
    assert (found.mean_S <= found.high_S).all()


def test_one_training_seed_has_no_spread() -> None:
    values = _packs(200, [0.5])
    found = summarise_seeds({7: values}, seed=0)
    assert np.isnan(found.spread_S).all()
    assert found.mean_S[0] == values.mean()
    with pytest.raises(ValueError, match="no training seed"):
        summarise_seeds({}, seed=0)


def test_runs_may_have_different_numbers_of_packs() -> None:
    found = summarise_seeds({0: _packs(100, [0.2]), 1: _packs(300, [0.8])}, seed=0)
    assert found.mean_S[0] == pytest.approx(0.5, abs=0.06)
