"""Success by position, as `codctl train` and `codctl runs diff` print it."""

from __future__ import annotations

import json
from pathlib import Path

from codctl.cli import _result_text, _status_text
from codctl.cli.runs import compared
from codctl.config.schema import Config
from codctl.pipeline.results import result_of
from codctl.runs.directory import RunDirectory
from codctl.runs.eval_result import means
from codctl.tracking.jsonl import latest
from tests.results import made


def test_a_position_that_was_never_played_keeps_its_column(tmp_path: Path) -> None:
    arms = {"own": {"success": made.curve(0.25, None, 0.75)}, "none": {"success": made.curve(0.5, 0.5)}}
    after = made.result({"arms": arms, "ceiling_curves": {"bayes": made.curve(0.5, 1, 1)}})
    found = result_of(RunDirectory(tmp_path), Config(), {"after": after})
    assert found["metrics"] == {"after": {"own": [0.25, None, 0.75], "none": [0.5, 0.5]}}
    lines = [line.split("  ") for line in _result_text.text(found).splitlines() if "hints" in line]
    assert [[cell.strip() for cell in line if cell.strip()] for line in lines] == [
        ["own hints", "0.25", "–", "0.75"],
        ["no hints", "0.50", "0.50", "–"],
    ]


def test_two_runs_are_compared_position_by_position() -> None:
    runs = [
        {"name": name, **dict.fromkeys(("status", "recipe", "digest", "attempts", "seconds", "code"))} for name in "ab"
    ]
    curves = [made.curve(0.25, None, 0.75), made.curve(None, 0.5)]
    entry = {"evaluation": "after", "arm": "own", "models": [None, None], "curves": curves}
    text = compared({"runs": runs, "config": [], "success": [entry]})
    shown = [line.split()[:2] for line in text.splitlines()[-3:]]
    assert shown == [["1", "0.25"], ["2", "–"], ["3", "0.75"]]


def test_the_newest_numbers_of_a_run_keep_their_places(tmp_path: Path) -> None:
    measured = {"success/position_0": 0.25, "success/position_1": None, "success/position_2": 0.75}
    record = {"phase": "validation", "step": 4, "metrics": measured}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(record) + "\n")
    found = latest(tmp_path / "metrics.jsonl").success
    assert found == (0.25, None, 0.75)
    assert _status_text.curve(found) == "0.25 – 0.75"
    assert means(made.part(arms={"own": {"success": made.curve(0.25, None, 0.75)}}).success("own")) == list(found)
