"""What trackers get of an evaluation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from codctl.tracking import contents


def _run(make_run: Any) -> Any:
    return make_run(steps=0)


def test_curves_by_position_gain_and_digest(make_run: Any, evaluate: Callable[..., None]) -> None:
    run = _run(make_run)
    evaluate(run, "stages/evaluation/after")
    (found,) = contents.evaluations(run)
    assert (found.place, found.name) == ("stages/evaluation/after", "after")
    points = {(p.key, p.step): p.value for p in found.points}
    assert points == {
        ("own/success", 0): 0.25,
        ("own/success", 1): 0.75,
        ("none/success", 0): 0.25,
        ("none/success", 1): 0.2,
        ("own/gain", 0): 0.5,
        ("own/gain_low", 0): 0.4,
        ("own/gain_high", 0): 0.6,
        ("failed_episodes", 0): 0.0,
    }
    assert found.settings == {
        "suite": "curve",
        "digest": "d1",
        "place": "stages/evaluation/after",
        "family": "frozen_lake",
        "preset": "tiny",
        "strategy": "cod",
        "rendering": "full",
        "split": "test",
        "packs": 2,
        "length": 2,
        "temperature": 1.0,
        "solve_tokens": 0,
        "update_tokens": 0,
        "answers": "auto",
        "seeds": [0],
        "model.checkpoint": "final",
        "model.step": 2,
    }


def test_parts_of_a_suite_and_ralph_loops(make_run: Any, evaluate: Callable[..., None]) -> None:
    run = _run(make_run)
    curve = [{"attempt": 1, "mean": 0.5, "low": 0.4, "high": 0.6}]
    point = {"position": 0, "mean": 1, "low": 0, "high": 1}
    parts: list[dict[str, Any]] = [
        {"name": "ralph/lake", "arms": {}, "solved_by_attempt": {"own": curve}},
        {"name": "odd (näme)", "distractors": {"family": "alchemy", "arms": {"own": {"success": [point]}}}},
    ]
    evaluate(run, "suites/loops", suite="loops", parts=parts)
    (found,) = contents.evaluations(run)
    keys = [(p.key, p.step, p.value) for p in found.points]
    assert [key for key in keys if not key[0].endswith("failed_episodes")] == [
        ("ralph/lake/own/solved_by_attempt", 1, 0.5),
        ("odd _n_me_/distractors/own/success", 0, 1.0),
    ]


def test_half_written_and_foreign_files_are_no_results(make_run: Any) -> None:
    run = _run(make_run)
    for place, text in (("suites/a", '{"x": '), ("suites/b", "[]"), ("suites/.c.tmp-1", "{}")):
        (run.path / place).mkdir(parents=True)
        (run.path / place / "result.json").write_text(text)
    assert contents.evaluations(run) == []
