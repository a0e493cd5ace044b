"""Graded families: success, mean reward and share are three things, in results, tables, pages, rows and trackers."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from codctl.cli._evaluation_text import _suite_part
from codctl.cod.references import play_policy, reference_player
from codctl.cod.trajectory import position_metrics
from codctl.config.evalspec import EvalSpec
from codctl.envs.registry import FAMILIES
from codctl.evaluate.runner import evaluate
from codctl.report import curves
from codctl.results.rows import RowsWriter
from codctl.results.statistics import averages, gains, means, scaled, shares
from codctl.results.summary import Summary
from codctl.runs.eval_result import PartResult, of, to_json
from codctl.tracking.contents import _numbers_of_part
from tests.example_world.dial import Dial


@pytest.fixture(autouse=True, scope="module")
def _dial() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(FAMILIES.built_in, "dial", "tests.example_world.dial:Dial")
        yield
        FAMILIES.forget()


@pytest.fixture(scope="module")
def found() -> Summary:
    about: dict[str, Any] = {"family": "dial", "preset": "tiny", "rendering": "compact", "length": 3, "packs": 60}
    return evaluate(reference_player("bayes", "compact", 0), EvalSpec(**about, arms=("own", "none")), lambda *_: None)


def test_success_is_not_the_reward(found: Summary) -> None:
    part = found.result
    assert part.graded
    success, reward = (curve[0].mean for curve in (part.success("own"), part.graded.raw_reward["own"]))
    assert success < 0.3 < reward
    assert {row.row.success for row in found.rows} == {0.0, 1.0}
    assert len({row.row.raw_reward for row in found.rows}) > 3


def test_the_share_compares_with_the_references_on_the_same_packs(found: Summary) -> None:
    graded = found.result.graded
    assert graded
    floor, ceiling = (graded.raw_reward[name][-1].mean for name in ("random", "informed"))
    expected = (graded.raw_reward["own"][-1].mean - floor) / (ceiling - floor)
    assert graded.share["own"][-1].mean == pytest.approx(expected)
    assert graded.share["own"][-1].mean == pytest.approx(graded.share["bayes"][-1].mean) == pytest.approx(1.0)
    assert graded.share_gain["own"].low > 0.5
    assert graded.reward_gain["own"].low > 0.3
    assert set(found.result.ceiling_curves) == {"bayes", "informed"}  # `random` is no ceiling


def test_numbers_about_hints_are_kept_by_name(found: Summary) -> None:
    off = found.result.hint_detail["own"]["levels_off"]
    assert [point.position for point in off] == [1, 2]
    assert off[0].mean > off[1].mean == 0
    writer = RowsWriter()
    writer.add("part", found.rows)
    rows = pq.read_table(io.BytesIO(writer.close())).to_pylist()
    assert {key for row in rows for key, _ in row["hint_detail"]} == {"levels_off"}
    assert {row["raw_reward"] for row in rows} >= {0.6, 1.0}


def test_it_is_read_as_it_was_written_and_told_everywhere(found: Summary) -> None:
    part = found.result
    assert of(PartResult, to_json(part)) == part
    assert part.hint_detail
    text = _suite_part("curve", part, alone=True)
    for told in ("mean reward", "share", "levels_off", "of what knowing the world gains", "random"):
        assert told in text
    assert [chart.title for chart in curves.of_part("p", part)] == [
        "Success by position",
        "Mean reward",
        "Share of what knowing the world gains",
        "How right the hints are",
        "Hints: levels off",
        "Shaped reward",
    ]
    logged = {name for name, _, _ in _numbers_of_part(part)}
    assert {"own/raw_reward", "own/share", "reference/random/raw_reward", "own/share_gain_low"} <= logged
    assert "own/hint_detail/levels_off" in logged


def test_binary_families_have_none_of_it() -> None:
    spec = EvalSpec(preset="tiny", rendering="compact", length=2, packs=4, arms=("own",))
    found = evaluate(reference_player("bayes", "compact", 0), spec, lambda *_: None)
    body = to_json(found.result)
    assert not {"graded", "hint_detail"} & set(body)
    assert {row.arm for row in found.reference_rows} == {"bayes", "informed"}


def test_training_metrics_tell_the_raw_reward() -> None:
    family = Dial()
    packs = [family.pack("train", index, 3, "tiny") for index in range(20)]
    played = play_policy("random", packs, "compact", 0)
    metrics = position_metrics(played, graded=True)
    first = [trajectory.of("solve")[0] for trajectory in played]
    assert metrics["raw_reward/position_0"] == pytest.approx(np.mean([e.raw_reward for e in first]))
    assert metrics["success/position_0"] == np.mean([e.raw_reward == 1 for e in first])
    assert "raw_reward/position_0" not in position_metrics(played)
    told = position_metrics(play_policy("bayes", packs, "compact", 0), graded=True)
    assert told["hint_detail/levels_off/position_2"] == 0
    assert "hint_detail/levels_off/position_0" not in told


def test_means_on_a_scale_are_shares_moved() -> None:
    values = np.random.default_rng(1).uniform(size=(40, 3))
    plain, moved = shares([values]), means([values * 4 - 1], ends=(-1.0, 3.0))
    for one, other in zip(
        (plain.mean_C, plain.low_C, plain.high_C), (moved.mean_C, moved.low_C, moved.high_C), strict=True
    ):
        np.testing.assert_allclose(one * 4 - 1, other)


def test_a_share_is_unknown_where_the_world_gains_nothing() -> None:
    rng = np.random.default_rng(2)
    reward, floor = rng.uniform(size=(30, 2)), rng.uniform(size=(30, 2))
    ceiling = np.stack([floor[:, 0] + 0.5, floor[:, 1] + rng.normal(size=30)], axis=1)
    found = scaled([reward], floor, ceiling)
    assert np.isfinite(found.mean_C[0])
    assert np.isnan(found.mean_C[1:]).all()
    assert np.isnan(scaled([reward[:1]], floor[:1], ceiling[:1]).mean_C).all()  # one pack


def test_bootstrapped_intervals_hold_the_truth_and_widen_with_seeds() -> None:
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(200):
        values = rng.normal(0.3, 1.0, size=(60, 1))
        found = averages([values])
        held += bool(found.low_C[0] <= 0.3 <= found.high_C[0])
    assert 180 <= held <= 199
    tables = [rng.normal(shift, 0.1, size=(60, 2)) for shift in (0.0, 0.4)]
    both, one = averages(tables), averages(tables[:1])
    assert both.high_C[0] - both.low_C[0] > 5 * (one.high_C[0] - one.low_C[0])
    with_gap = np.array([[0.1, 0.4], [np.nan, 0.9]])
    assert gains([with_gap]).mean_C[0] == pytest.approx(0.3)
