"""How much of its teachers a student keeps."""

from __future__ import annotations

import pytest

from codctl.cli._result_text import text
from codctl.config.schema import Config, DistillConfig, TeacherConfig, WorldConfig
from codctl.config.schema.world import MixtureRef
from codctl.results.kept import kept_of
from tests.results import made

FAMILIES = ("frozen_lake", "alchemy")


def config() -> Config:
    return Config(
        world=WorldConfig(mixture=tuple(MixtureRef(family=family) for family in FAMILIES)),
        distill=DistillConfig(teachers=tuple(TeacherConfig(families=(one,), model=f"run-{one}") for one in FAMILIES)),
    )


def part(family: str, *success: float | None) -> dict[str, object]:
    return {"family": family, "name": family, "arms": {"own": {"success": made.curve(*success)}}}


def test_kept_is_the_share_of_the_teachers_gain() -> None:
    found = kept_of(
        config(),
        {
            "before": made.result(part("frozen_lake", 0.4, 0.5), part("alchemy", 0.2, 0.3)),
            "after": made.result(part("frozen_lake", 0.5, 0.8), part("alchemy", 0.2, 0.2)),
            "teacher-1": made.result(part("frozen_lake", 0.5, 0.9)),
            "teacher-2": made.result(part("alchemy", 0.2, 0.3)),
        },
    )
    first, second = found
    assert (first.family, first.teacher, first.measure) == ("frozen_lake", "run-frozen_lake", "success")
    assert first.last == pytest.approx(0.75)
    assert first.mean == pytest.approx(0.8)
    assert (second.last, second.mean) == (None, None)  # the teacher is no better than the start
    shown = text({"run": "r", "report": None, "metrics": {}, "kept": [one.as_dict() for one in found]})
    assert "0.50" in shown
    assert "75 %" in shown  # the table has plain blanks
    assert "80 %" in shown


def test_what_was_not_measured_is_left_out() -> None:
    before = made.result(part("frozen_lake", 0.4, 0.5))
    teacher = made.result(part("frozen_lake", 0.5, 0.9))
    assert kept_of(config(), {"before": before, "teacher-1": teacher}) == []
    torn = made.result(part("frozen_lake", None, 0.5))
    assert kept_of(config(), {"before": before, "after": torn, "teacher-1": teacher}) == []
