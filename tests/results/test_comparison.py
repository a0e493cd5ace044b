"""Models side by side: on common packs only, with differences within packs."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from codctl.errors import UsageError
from codctl.report.comparison_page import headline, render, rows_of
from codctl.results.comparison import Compared, ComparedModel, Comparison, Table, compare
from codctl.results.statistics import differences
from codctl.runs.eval_result import Subject
from tests.results import made


def played(name: str, success: dict[int, list[float | None]], **changes: Any) -> Compared:
    """An evaluation with the arm `own`: by pack number, success at each position."""
    length = len(next(iter(success.values())))
    about = {"length": length, "packs": len(success), "positions": list(range(length)), "arms": {"own": ARM}}
    part = made.part(name="curve/w", **{**about, **changes})
    table: Table = {}
    for number, values in success.items():
        known = {position: [value] for position, value in enumerate(values) if value is not None}
        table[number, f"pack/{number}"] = known
    return Compared(name, [part], {("curve/w", "own"): table})


ARM: dict[str, Any] = {"success": []}
A = played("a", {number: [0.0, float(number % 2)] for number in range(8)})
B = played("b", {number: [0.0, 1.0] for number in range(2, 12)})


def test_differences_are_taken_within_the_packs_that_both_have() -> None:
    [part] = compare([A, B])
    assert (part.packs, part.played) == (6, (8, 10))
    [difference] = part.arms["own"].differences
    assert (difference.model, difference.against) == (1, 0)
    last = difference.success[1]
    wanted = differences([np.array([[1.0], [0.0]] * 3)])
    assert (last.mean, last.low, last.high) == (0.5, wanted.low_C[0], wanted.high_C[0])
    assert difference.gain is not None
    assert difference.gain.mean == 0.5
    assert [model.mean and model.mean.mean for model in part.arms["own"].models] == [0.25, 0.5]


def test_what_hard_packs_have_in_common_cancels() -> None:
    """Each model alone varies much; that one is better by the same amount everywhere is sure."""
    rng = np.random.default_rng(0)
    hard = {number: [float(value), float(value)] for number, value in enumerate(rng.random(30) * 0.8)}
    better = {number: [value + 0.1 for value in values] for number, values in hard.items()}
    [part] = compare([played("a", hard), played("b", better)])
    first, second = (model.mean for model in part.arms["own"].models)
    assert first is not None
    assert second is not None
    assert first.high > second.low
    [difference] = part.arms["own"].differences
    assert difference.mean is not None
    assert difference.mean.low > 0
    assert headline(part, ["A", "B"]).startswith("B solves more than A: +10 points")
    [same] = compare([played("a", hard), played("b", hard)])
    assert headline(same, ["A", "B"]).startswith("No measurable difference between B and A")


def test_an_episode_that_was_not_played_is_left_out_of_the_pair() -> None:
    [part] = compare([A, played("b", {2: [1.0, 1.0], 3: [None, 0.0]})])
    [difference] = part.arms["own"].differences
    assert [at.mean for at in difference.success] == [1.0, 0.0]
    assert difference.mean is not None
    assert difference.mean.mean == 1.0  # the one pack that both played whole


def test_other_sampling_is_said_and_other_questions_are_refused() -> None:
    [part] = compare([A, played("b", {2: [1.0, 1.0]}, temperature=0.5)])
    assert part.notes == ("temperature differs: 1.0, 0.5",)
    with pytest.raises(UsageError, match="no part in common"):
        compare([A, played("b", {2: [1.0, 1.0]}, preset="hard")])
    with pytest.raises(UsageError, match="no pack and arm in common"):
        compare([A, played("b", {50: [1.0, 1.0]})])
    with pytest.raises(UsageError, match="no pack and arm in common"):
        compare([A, played("b", {2: [1.0, 1.0]}, arms={"none": ARM})])


def test_the_page_names_each_model_and_draws_both(tmp_path: Any) -> None:
    subject = Subject(kind="model", name="m")
    models = tuple(ComparedModel(f"model <{name}>", subject, "curve", name) for name in ("a", "b", "c"))
    page = render(Comparison(models, compare([A, B, B]), "page", ("codctl", "evals"), "1"))
    assert page.index("model &lt;a&gt;") < page.index("<h1>")
    assert page.count("<svg") == 4
    assert re.search(r"C − A.*C − A", page, re.DOTALL)
    assert "://" not in page


def test_rewards_of_graded_families_are_paired_as_success_is() -> None:
    """One model solves nothing more, but gets 0.1 more of the reward everywhere."""
    rng = np.random.default_rng(0)
    hard = {number: [float(value), float(value) / 2] for number, value in enumerate(rng.uniform(-0.1, 0.8, 30))}
    better = {number: [value + 0.1 for value in values] for number, values in hard.items() if number != 3}
    nothing: dict[int, list[float | None]] = {number: [0.0, 0.0] for number in hard}

    def with_rewards(name: str, rewards: dict[int, list[float]], **changes: Any) -> Compared:
        table = {(n, f"pack/{n}"): dict(enumerate([value] for value in values)) for n, values in rewards.items()}
        return replace(
            played(name, {n: nothing[n] for n in rewards}, graded={"ends": (-0.1, 1.0), "raw_reward": {}}, **changes),
            rewards={("curve/w", "own"): table},
        )

    first, second = with_rewards("a", hard), with_rewards("b", better)
    [part] = compare([first, second])
    side, [difference] = part.arms["own"].models[0].raw_reward, part.arms["own"].differences
    assert side is not None
    assert side.mean is not None
    assert side.gain is not None
    assert difference.mean is not None
    assert difference.raw_reward is not None
    expected = np.array([values for number, values in hard.items() if number != 3])
    assert [at.mean for at in side.curve] == pytest.approx(expected.mean(axis=0))
    assert side.mean.mean == pytest.approx(expected.mean())
    assert side.gain.mean == pytest.approx((expected[:, 1] - expected[:, 0]).mean())
    assert side.mean.high - side.mean.low > 0.1
    paired = difference.raw_reward.mean
    assert paired is not None
    assert (paired.mean, paired.low, paired.high) == pytest.approx((0.1, 0.1, 0.1))
    assert not difference.mean.is_sure
    assert headline(part, ["A", "B"]).endswith("mean reward +0.10 (+0.10 to +0.10)")
    rows = {row[1]: row[2:] for row in rows_of("own", part.arms["own"], part.positions, ["A", "B"])}
    assert list(rows) == ["A", "B", "B − A", "A, mean reward", "B, mean reward", "B − A, mean reward"]
    assert rows["B − A, mean reward"][0].startswith("+0.10")
    models = tuple(ComparedModel(name, Subject(kind="model", name=name), "curve", name) for name in ("a", "b"))
    told = Comparison(models, (part,), "page", ("codctl",), "1")
    assert render(told).count("<svg") == 8  # four charts, with their legends
    assert told.to_json()["parts"][0]["arms"]["own"]["differences"][0]["raw_reward"]["mean"]["mean"] == paired.mean

    [plain] = compare([first, played("b", nothing)])  # of a version that did not grade
    assert plain.arms["own"].models[0].raw_reward is None
    body = Comparison(models, (plain,), "page", ("codctl",), "1").to_json()
    assert "raw_reward" not in body["parts"][0]["arms"]["own"]["models"][0]
