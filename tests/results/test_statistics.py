"""Intervals hold the truth as often as they claim, and always have a width."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from codctl.results.statistics import differences, shares

NAN = float("nan")


def _of(right: int, packs: int) -> np.ndarray[Any, Any]:
    return (np.arange(packs) < right).astype(float)[:, None]


@pytest.fixture(scope="module")
def coverage() -> ModuleType:
    """The simulation whose figures docs/evaluation.md shows."""
    path = Path(__file__).parents[2] / "experiments/bench/coverage.py"
    spec = importlib.util.spec_from_file_location("coverage_of_intervals", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("packs", [20, 64, 500])
@pytest.mark.parametrize("rate", [0.02, 0.5, 0.98])
def test_shares_hold_the_truth_95_times_in_100(coverage: ModuleType, packs: int, rate: float) -> None:
    found = coverage.packs(np.random.default_rng(0), 4000, packs, rate)
    assert 0.93 <= found.held <= 0.97


@pytest.mark.parametrize("training", [2, 3, 5])
def test_few_training_seeds_hold_the_truth_95_times_in_100(coverage: ModuleType, training: int) -> None:
    found = coverage.seeds(np.random.default_rng(0), 2000, training, 500, 0.0, 0.6, 1.0)
    assert 0.93 <= found.held <= 0.97


@pytest.mark.parametrize(("up", "down"), [(0.5, 0.0), (0.25, 0.25), (0.48, 0.02)])
def test_differences_hold_the_truth_95_times_in_100(coverage: ModuleType, up: float, down: float) -> None:
    found = coverage.paired(np.random.default_rng(0), 4000, 64, up, down)
    assert 0.93 <= found.held <= 0.97


def test_rollouts_of_one_pack_are_not_packs(coverage: ModuleType) -> None:
    assert 0.93 <= coverage.rollouts(np.random.default_rng(0), 2000, 64, 4, 1.5).held <= 0.97


@pytest.mark.parametrize(
    ("right", "packs", "low", "high"),
    [(0, 4, 0.0, 0.4899), (6, 6, 0.6097, 1.0), (1, 20, 0.0089, 0.2361), (250, 500, 0.4563, 0.5437)],
)
def test_a_share_has_wilsons_interval(right: int, packs: int, low: float, high: float) -> None:
    found = shares([_of(right, packs)])
    assert found.mean_C[0] == right / packs
    assert (found.low_C[0], found.high_C[0]) == pytest.approx((low, high), abs=1e-4)


def test_a_difference_has_bonett_and_prices_interval() -> None:
    """12 packs gain, 2 lose, 26 stay: p₁₂ = 13/42, p₂₁ = 3/42."""
    values = np.repeat([1.0, -1.0, 0.0], [12, 2, 26])[:, None]
    found = differences([values])
    half = 1.95996 * np.sqrt((16 / 42 - (10 / 42) ** 2) / 42)
    assert found.mean_C[0] == 0.25
    assert (found.low_C[0], found.high_C[0]) == pytest.approx((10 / 42 - half, 10 / 42 + half), abs=1e-5)


@pytest.mark.parametrize("packs", [2, 4, 500])
@pytest.mark.parametrize("value", [0.0, 1.0, 0.5])
def test_packs_that_all_agree_leave_something_open(packs: int, value: float) -> None:
    share, difference = shares([np.full((packs, 1), value)]), differences([np.full((packs, 1), value)])
    for found in (share, difference):
        assert found.low_C[0] <= value <= found.high_C[0]
        assert found.high_C[0] - found.low_C[0] > 1 / (packs + 4)
    assert difference.low_C[0] < 1
    assert 0 <= share.low_C[0] <= share.high_C[0] <= 1


def test_a_value_that_is_missing_everywhere_has_no_interval() -> None:
    values = np.array([[1.0, NAN], [0.0, NAN]])
    for found in (shares([values]), differences([values])):
        assert not np.isnan([found.mean_C[0], found.low_C[0], found.high_C[0]]).any()
        assert np.isnan([found.mean_C[1], found.low_C[1], found.high_C[1]]).all()


def test_what_could_not_be_played_is_no_pack() -> None:
    with_gaps = shares([np.vstack([_of(3, 10), [[NAN]] * 7])])
    without = shares([_of(3, 10)])
    assert (with_gaps.mean_C, with_gaps.low_C, with_gaps.high_C) == (without.mean_C, without.low_C, without.high_C)


def test_sampling_seeds_narrow_an_interval_as_far_as_they_are_independent() -> None:
    """Of two rollouts in each pack: the same outcome twice adds nothing, independent ones count as two packs."""
    rng = np.random.default_rng(3)
    one, other = rng.integers(0, 2, (2, 2000, 1)).astype(float)
    alone, twice, both = (shares([values]) for values in (one, (one + one) / 2, (one + other) / 2))
    width = {name: float(e.high_C[0] - e.low_C[0]) for name, e in (("alone", alone), ("twice", twice), ("both", both))}
    assert width["twice"] == pytest.approx(width["alone"], rel=0.03)
    assert width["both"] == pytest.approx(width["alone"] / np.sqrt(2), rel=0.03)


def test_packs_of_one_world_count_as_one() -> None:
    worlds = np.random.default_rng(1).integers(0, 2, (40, 1)).astype(float)
    together = shares([np.repeat(worlds, 8, axis=0)], np.repeat(np.arange(40), 8))
    apart = shares([worlds])
    assert together.high_C - together.low_C == pytest.approx(apart.high_C - apart.low_C, rel=0.05)
    assert shares([worlds], np.arange(40)).low_C == pytest.approx(apart.low_C)


def test_a_regret_may_be_larger_than_one() -> None:
    found = differences([np.full((50, 1), 3.0)], reach=4.0)
    assert 2.5 < found.low_C[0] < 3.0 < found.high_C[0] < 3.3
    few = differences([np.zeros((4, 1))], reach=8.0)
    assert -1 < few.low_C[0] < 0 < few.high_C[0] < 1  # the scale's ends, 8 tasks away, do not blur it


@pytest.mark.parametrize("values", [[1.0, 0.0], np.zeros((0, 3)), np.zeros((3, 0))])
def test_wrong_shapes(values: Any) -> None:
    with pytest.raises(ValueError, match="expected seeds × packs × columns"):
        shares([values])
