"""Which metrics open which gate."""

from __future__ import annotations

import math
from typing import Any

import pytest

from codctl.config.schema import Config
from codctl.train.health import Gates, advantage_sums

SOUND = {
    "loss": -0.01,
    "grad_norm": 0.4,
    "entropy": 0.5,
    "logprob_gap/mean": 1e-6,
    "logprob_gap/max": 1e-5,
    "logprob_gap/k3": 1e-9,
    "groups/without_signal": 0.4,
    "advantage_sum/solve_relative": 0.1,
    "advantage_sum/update_relative": 0.3,
}
# gate, its metric, a limit, a value on the good side, one on the bad side
GATES = [
    ("gap_mean", "logprob_gap/mean", 0.02, 0.02, 0.021),
    ("gap_max", "logprob_gap/max", 0.5, 0.5, 0.6),
    ("gap_k3", "logprob_gap/k3", 0.01, 0.01, 0.02),
    ("entropy", "entropy", 0.1, 0.1, 0.09),
    ("grad_norm", "grad_norm", 5.0, 5.0, 5.1),
    ("silent_groups", "groups/without_signal", 0.8, 0.8, 0.81),
    ("unreadable_replies", "failures/format", 0.5, 0.5, 0.51),
    ("unreadable_updates", "failures/update", 0.5, 0.5, 0.51),
    ("cut_replies", "failures/cut", 0.5, 0.5, 0.51),
    ("advantage_sum", "advantage_sum/solve_relative", 0.7, 0.7, 0.71),
    ("advantage_sum", "advantage_sum/update_relative", 0.7, 0.7, 0.71),
]


def gates(health: dict[str, Any] | None = None, **sections: Any) -> Gates:
    return Gates(Config.model_validate({"health": health or {}, **sections}))


def opened(found: Gates, **values: float) -> list[str]:
    metrics = SOUND | {name.replace("__", "/"): value for name, value in values.items()}
    return [finding.gate for finding in found.judge(metrics).findings]


@pytest.mark.parametrize("action", ["off", "warn", "skip", "stop"])
@pytest.mark.parametrize(("gate", "metric", "limit", "good", "bad"), GATES)
def test_a_gate_opens_beyond_its_limit_and_does_what_it_says(
    gate: str, metric: str, limit: float, good: float, bad: float, action: str
) -> None:
    found = gates({gate: {"limit": limit, "action": action}}, engine={"sync_every": 2})
    assert found.judge(SOUND | {metric: good}).action == "go"
    verdict = found.judge(SOUND | {metric: bad})
    assert [finding.gate for finding in verdict.findings] == ([] if action == "off" else [gate])
    assert verdict.action == ("go" if action == "off" else action)
    assert verdict.lets_pass is (action in ("off", "warn"))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("metric", ["loss", "grad_norm", "logprob_gap/mean", "entropy"])
def test_what_is_no_number_never_passes(metric: str, value: float) -> None:
    assert gates().judge(SOUND | {metric: value}).action == "stop"
    verdict = gates({"non_finite": {"action": "skip"}}).judge(SOUND | {metric: value})
    assert verdict.action == "skip"
    assert [(finding.gate, finding.text) for finding in verdict.findings] == [
        ("non_finite", f"not finite: {metric} {value}")
    ]


def test_the_strongest_action_counts() -> None:
    found = gates({"entropy": {"limit": 1.0, "action": "skip"}, "grad_norm": {"limit": 0.1, "action": "warn"}})
    assert opened(found) == ["entropy", "grad_norm"]
    assert found.judge(SOUND).action == "skip"


def test_messages_name_the_quantity_its_value_and_its_limit() -> None:
    [high] = gates().judge(SOUND | {"logprob_gap/mean": 0.31}).findings
    assert high.text == "the mean gap of sampling and training log-probs is 0.31, above 0.001"
    [low] = gates().judge(SOUND | {"entropy": 0.0001}).findings
    assert low.text == "the policy's entropy is 0.0001, below 0.002"


def test_limits_of_the_gap_follow_type_and_staleness() -> None:
    """A gap that float32 cannot explain is rounding in bfloat16; stale rows are off by the policy's own movement."""
    in_bfloat16 = {"model": {"dtype": "bfloat16"}}
    for value, fresh, rounded, stale in [
        (0.0005, [], [], []),
        (0.012, ["gap_mean"], [], []),
        (0.2, ["gap_mean"], ["gap_mean"], []),
        (0.6, ["gap_mean"], ["gap_mean"], ["gap_mean"]),
    ]:
        assert opened(gates(), logprob_gap__mean=value) == fresh
        assert opened(gates(**in_bfloat16), logprob_gap__mean=value) == rounded
        for older in ({"engine": {"sync_every": 4}}, {"train": {"optimizer_steps": 2}}):
            assert opened(gates(**older), logprob_gap__mean=value) == stale
            assert opened(gates(**in_bfloat16, **older), logprob_gap__mean=value) == stale


def test_a_limit_in_the_recipe_beats_them() -> None:
    assert opened(gates({"gap_mean": {"limit": 0.1}}), logprob_gap__mean=0.05) == []
    assert opened(gates({"gap_mean": {"limit": 0.1}}, engine={"sync_every": 4}), logprob_gap__mean=0.2) == ["gap_mean"]


def test_a_step_with_nothing_to_learn_is_judged_by_its_rollouts_alone() -> None:
    silent = {**dict.fromkeys(SOUND, 0.0), "groups/without_signal": 1.0}
    assert [finding.gate for finding in gates().judge_rollouts(silent).findings] == ["silent_groups"]


def test_advantage_sums_are_weighted_by_tokens_and_apart_by_kind() -> None:
    found = advantage_sums(["solve", "solve", "update"], [0.5, -0.5, -0.25], [10, 30, 8])
    assert found == {
        "advantage_sum/solve": -10.0,
        "advantage_sum/solve_relative": 0.5,
        "advantage_sum/update": -2.0,
        "advantage_sum/update_relative": 1.0,
    }
    assert advantage_sums([], [], [])["advantage_sum/solve_relative"] == 0.0
