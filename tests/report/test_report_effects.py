"""The headline says what was measured and never more."""

from __future__ import annotations

import random

import pytest

from codctl.config.evalspec import EvalSpec
from codctl.report.findings import details, effect_of, headline_of_part
from codctl.results.journal import MemoryJournal, Record, Unit
from codctl.results.summary import summarise
from codctl.runs.eval_result import PartResult
from tests.results import made


def _evaluation(arms: dict[str, list[float]], packs: int = 400, unplayed: int = 0) -> PartResult:
    """What was drawn with these rates; of the first so many packs the first task was not played."""
    rng = random.Random(0)
    spec = EvalSpec(name="curve/w", preset="tiny", packs=packs, length=4, arms=tuple(arms))
    journal = MemoryJournal()
    for arm, rates in {**arms, "bayes": [0.5, 0.9, 1, 1]}.items():
        for pack in range(packs):
            drawn = [float(rng.random() < rate) for rate in rates]
            known = [None if position == 0 and pack < unplayed else one for position, one in enumerate(drawn)]
            rows = tuple(made.row(position=position, success=one) for position, one in enumerate(known))
            journal.append(Record(Unit("curve/w", arm, 0, pack), f"p{pack}", rows))
    return summarise(spec, journal).result


FLAT = [0.45, 0.45, 0.45, 0.45]
RISING = [0.45, 0.8, 0.85, 0.9]


@pytest.mark.parametrize(
    ("arms", "start"),
    [
        ({"own": RISING, "none": FLAT}, "It learns within unknown worlds from the hints that it writes itself: "),
        ({"own": RISING}, "It learns within unknown worlds: "),
        ({"own": RISING, "none": RISING}, "It improves within unknown worlds, but not because of its hints: "),
        ({"own": FLAT, "none": FLAT}, "No measurable learning within unknown worlds: "),
        ({"own": RISING[::-1], "none": FLAT}, "It gets worse within unknown worlds: "),
    ],
)
def test_headline(arms: dict[str, list[float]], start: str) -> None:
    part = _evaluation(arms)
    assert headline_of_part(part).startswith(start)
    last = part.success("own")[-1].mean
    assert f"{100 * last:.0f}\xa0% of the fourth tasks solved" in headline_of_part(part)


def test_numbers() -> None:
    effect = effect_of(_evaluation({"own": RISING, "none": FLAT}))
    assert effect is not None
    assert effect.gain.mean == pytest.approx(effect.last.mean - effect.first.mean)
    assert effect.gain.low < effect.gain.mean < effect.gain.high
    assert effect.ceiling is not None
    assert effect.share_of_ceiling == pytest.approx(effect.last.mean / effect.ceiling)
    assert effect.none_gain is not None
    assert effect.none_gain.low < 0 < effect.none_gain.high
    text = details(effect, effect)
    assert "95\xa0% interval +" in text
    assert "Before CoD-Train it solved" in text


def test_failed_episodes_are_left_out() -> None:
    effect = effect_of(_evaluation({"own": [1.0, 1.0, 1.0, 1.0]}, packs=10, unplayed=1))
    assert effect is not None
    assert effect.first.mean == 1.0


def test_without_own_there_is_no_effect() -> None:
    assert effect_of(_evaluation({"none": FLAT})) is None
