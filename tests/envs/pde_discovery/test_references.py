"""What the reference policies get; `experiments/worlds` measures it on more packs."""

from __future__ import annotations

import numpy as np
import pytest

from codctl.cod.references import play_policy
from codctl.envs.registry import get_family

FAMILY = get_family("pde_discovery")


def measured(policy: str, preset: str, variant: str, packs: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean reward by position, and standard errors."""
    drawn = [FAMILY.pack("test", index, length, preset, variant) for index in range(packs)]
    rewards_PS = np.array([[e.raw_reward for e in t.of("solve")] for t in play_policy(policy, drawn, "compact", 0)])
    return rewards_PS.mean(axis=0), rewards_PS.std(axis=0, ddof=1) / packs**0.5


@pytest.mark.parametrize("variant", ["hints_only", "environment"])
def test_tiny_is_exact(variant: str) -> None:
    """The chance that the true term is drawn from those that fitted in all tasks: E[1/|what is left|]."""
    means, _ = measured("bayes", "tiny", variant, 300, 4)
    exact = np.array([0.333, 0.822, 0.969, 0.994])
    assert (np.abs(means - exact) < 4 * np.sqrt(exact * (1 - exact) / 300)).all()
    for policy in ("forget", "random"):
        means, errors = measured(policy, "tiny", variant, 100, 3)
        assert (np.abs(means - 1 / 3) < 4 * errors).all()
    assert measured("informed", "tiny", variant, 20, 3)[0].tolist() == [1, 1, 1]


def test_train_with_data_that_stay() -> None:
    """`bayes` keeps nothing but its coefficients from the tool, which weighs all points alike; hence 0.01 more room."""
    means, errors = measured("bayes", "train", "environment", 50, 4)
    assert (np.abs(means - [0.849, 0.975, 0.990, 0.994]) < 4 * errors + 0.01).all()


def test_forgetting_costs() -> None:
    bayes, _ = measured("bayes", "train", "hints_only", 30, 3)
    forget, _ = measured("forget", "train", "hints_only", 30, 3)
    informed, _ = measured("informed", "train", "hints_only", 30, 3)
    chance, _ = measured("random", "train", "hints_only", 30, 3)
    assert bayes[0] == forget[0]
    assert (forget[1:] + 0.03 < bayes[1:]).all()
    assert (bayes <= informed + 0.03).all()
    assert (chance < 0.5).all()
