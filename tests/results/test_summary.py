"""The numbers of an evaluation, from records that were written by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from codctl.config.evalspec import EvalSpec
from codctl.results.journal import MemoryJournal, Record, Unit
from codctl.results.rows import Row
from codctl.results.summary import solved_so_far, summarise
from codctl.runs.eval_result import AttemptCurve, Curve, PartResult
from tests.results import made

NAN = float("nan")
# (arm, seed, pack, position) → success; None where the engine failed.
Success = Callable[[str, int, int, int], float | None]


def played(spec: EvalSpec, success: Success, *, distractor: tuple[int, ...] = ()) -> PartResult:
    journal = MemoryJournal()
    for arm in (*spec.arms, "bayes", "informed"):
        for seed in spec.seeds:
            for pack in range(spec.packs):
                rows = [_row(success(arm, seed, pack, p), p, p in distractor) for p in range(spec.length)]
                journal.append(Record(Unit(spec.name, arm, seed, pack), f"pack/{pack}", tuple(rows)))
    return summarise(spec, journal).result


def _row(success: float | None, position: int, distractor: bool) -> Row:
    shaped = None if success is None else 0.9 * success
    failed = "" if success is not None else "no reply"
    about = {
        "position": position,
        "distractor": distractor,
        "success": success,
        "shaped_reward": shaped,
        "failed": failed,
    }
    return made.row(**about, hint_knowable=4, hint_knowable_right=1)


def means(curve: Curve | AttemptCurve) -> list[float]:
    return [point.mean for point in curve]


def test_seeds_are_averaged_within_packs_and_failures_left_out() -> None:
    spec = EvalSpec(name="p/x", packs=4, length=2, arms=("own",), seeds=(3, 7))

    def success(arm: str, seed: int, pack: int, position: int) -> float | None:
        if arm != "own":
            return 1.0
        return None if (seed, pack, position) == (3, 0, 0) else float(position == 1 or seed == 7)

    found = played(spec, success)
    # Pack 0 is known from seed 7 alone, the others from both.
    assert means(found.arms["own"].success) == pytest.approx([(1 + 3 * 0.5) / 4, 1.0])
    assert found.failed_episodes == 1
    assert {name: means(curve) for name, curve in found.ceiling_curves.items()} == {
        "bayes": [1.0, 1.0],
        "informed": [1.0, 1.0],
    }
    assert [point.position for point in found.arms["own"].hint_correctness] == [1]
    assert found.gain["own"].mean == pytest.approx((0 + 3 * 0.5) / 4)
    assert found.regret["own"].mean == pytest.approx((0 + 3 * 0.5) / 4)
    assert found.arms["own"].shaped_reward[1].mean == pytest.approx(0.9)


def test_distractors_are_told_apart() -> None:
    spec = EvalSpec(
        name="p/x",
        strategy="distractor",
        distractor_family="alchemy",
        distractor_preset="easy",
        packs=2,
        length=5,
        arms=("own",),
    )
    found = played(spec, lambda arm, seed, pack, position: float(position in (2, 4)), distractor=(1, 3))
    assert found.positions == (0, 2, 4)
    assert means(found.arms["own"].success) == [0.0, 1.0, 1.0]
    assert (found.gain["own"].start, found.gain["own"].end) == (0, 4)
    assert found.distractors is not None
    assert found.distractors.positions == (1, 3)
    assert means(found.distractors.arms["own"].success) == [0.0, 0.0]
    assert (found.distractors.family, found.distractors.preset) == ("alchemy", "easy")


def test_solved_by_attempt() -> None:
    spec = EvalSpec(name="p/x", strategy="ralph_sample", packs=4, length=4, arms=("own",))
    first = {0: 0, 1: 2, 2: 3, 3: 9}  # pack → attempt that succeeds; later ones fail again

    def success(arm: str, seed: int, pack: int, position: int) -> float:
        return float(arm != "own" or first[pack] == position)

    found = played(spec, success).solved_by_attempt
    assert found is not None
    assert [(point.attempt, point.mean) for point in found["own"]] == [(1, 0.25), (2, 0.25), (3, 0.5), (4, 0.75)]
    assert means(found["bayes"]) == [1.0] * 4


def test_solved_so_far_knows_what_it_does_not_know() -> None:
    success = np.array([[[0, 1, 0, NAN], [0, NAN, 0, 1], [NAN, 0, 0, 0]]])
    expected = [[[0, 1, 1, 1], [0, NAN, NAN, 1], [NAN, NAN, NAN, NAN]]]
    np.testing.assert_array_equal(solved_so_far(success), expected)


def test_tasks_of_one_world_are_drawn_together() -> None:
    """Under ralph_full packs that share a world say the same, so the interval is that of the worlds."""
    spec = EvalSpec(name="p/x", strategy="ralph_full", packs=40, length=4, arms=("own",))
    wide = played(spec, lambda arm, seed, pack, position: float(pack // 4 % 2)).arms["own"].success[0]
    alone = spec.model_copy(update={"strategy": "ralph_sample"})
    narrow = played(alone, lambda arm, seed, pack, position: float(pack // 4 % 2)).arms["own"].success[0]
    assert wide.mean == narrow.mean == 0.5
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)
