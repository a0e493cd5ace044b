"""Evaluations in a runs folder: found, told apart, and removed without touching anything else."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from codctl.errors import RefusedError, UsageError
from codctl.files.lock import RunLock
from codctl.runs.evaluations import evaluations_of, find_evaluation, list_evaluations, remove
from tests.report.fake_run import fake_run
from tests.results import made

PLAYED = {"arms": {"own": {"success": made.curve(1.0)}}}


def evaluation(runs: Path, name: str, *, age_s: float = 0, **result: Any) -> Path:
    """A folder as `codctl eval` leaves it; without a result when none is given."""
    folder = runs / "evaluations" / name
    folder.mkdir(parents=True)
    subject = {"kind": "run", "name": name.partition("-")[0], "step": result.pop("step", 0)}
    units = [json.dumps({"unit": ["p", "own", 0, number]}) for number in (0, 1, 1)]
    (folder / "journal.jsonl").write_text("\n".join(['{"schema": 1}', *units]))
    head = {**made.HEAD, "subject": subject, "parts": [made.PART], "trajectories": 8}
    (folder / "evaluation.json").write_text(json.dumps(head))
    if result:
        content = made.result_json(*result.pop("parts", [PLAYED]), subject=subject, **result)
        (folder / "result.json").write_text(json.dumps(content))
    for path in folder.iterdir():
        os.utime(path, (1e9 - age_s, 1e9 - age_s))
    return folder


def test_the_newest_comes_first_and_says_how_it_stands(tmp_path: Path) -> None:
    evaluation(tmp_path, "tiny-curve-aaaa1111", age_s=3, to_play_again=0)
    evaluation(tmp_path, "tiny-curve-bbbb2222", age_s=2)
    evaluation(tmp_path, "tiny-curve-cccc3333", age_s=1, to_play_again=4)
    silent = {"arms": {"own": {"success": []}}}
    evaluation(tmp_path, "tiny-curve-dddd4444", to_play_again=4, failed_episodes=9, parts=[silent])
    evaluation(tmp_path, "tiny-curve-dddd4444.old-1")
    (tmp_path / "evaluations" / "foreign").mkdir()
    found = list_evaluations(tmp_path)
    assert [one.id for one in found] == ["dddd4444", "cccc3333", "bbbb2222", "aaaa1111"]
    assert [one.state for one in found] == ["failed", "partly", "partly", "finished"]
    assert [one.played for one in found] == [0, 0, 2, 0]
    with RunLock(found[3].path / "lock"):
        assert list_evaluations(tmp_path)[3].state == "running"
    assert list_evaluations(tmp_path / "nowhere") == []


def test_one_is_found_by_name_folder_or_the_beginning_of_its_id(tmp_path: Path) -> None:
    folder = evaluation(tmp_path, "tiny-curve-abcd1111")
    evaluation(tmp_path, "tiny-curve-abcd2222")
    for wanted in (folder.name, str(folder), "abcd1"):
        assert find_evaluation(tmp_path, wanted).path == folder
    with pytest.raises(UsageError, match="several evaluations begin with 'abcd'"):
        find_evaluation(tmp_path, "abcd")
    with pytest.raises(UsageError, match="no evaluation 'ffff'"):
        find_evaluation(tmp_path, "ffff")


def test_those_of_a_run_come_by_step(tmp_path: Path) -> None:
    run = fake_run(tmp_path, evaluated=False)
    evaluation(tmp_path, "tiny-curve-aaaa1111", step=20)
    evaluation(tmp_path, "tiny-curve-bbbb2222", step=3)
    evaluation(tmp_path, "other-curve-cccc3333", step=1)
    assert [one.id for one in evaluations_of(run)] == ["bbbb2222", "aaaa1111"]


def test_only_an_evaluation_that_is_not_in_use_is_removed(tmp_path: Path) -> None:
    folder = evaluation(tmp_path, "tiny-curve-aaaa1111", to_play_again=0)
    stays = evaluation(tmp_path, "tiny-curve-bbbb2222")
    found = find_evaluation(tmp_path, "aaaa")
    with RunLock(folder / "lock"), pytest.raises(RefusedError, match="in use"):
        remove(found, tmp_path)
    assert folder.is_dir()
    remove(found, tmp_path)
    assert [path.name for path in stays.parent.iterdir()] == [stays.name]
    with pytest.raises(RefusedError, match="outside the runs folder"):
        remove(find_evaluation(tmp_path, "bbbb"), tmp_path / "other")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('{"a":' * 100_000, "result.json cannot be used: it is nested deeper than 40 levels"),
        ('{"schema": 2, "parts": {}}', "result.json cannot be used: suite is missing"),
        (json.dumps({**made.HEAD, "parts": {}}), "result.json cannot be used: parts: it should be a valid tuple"),
        (
            json.dumps(made.result_json({"arms": {"own": {"success": [{"position": 0, "mean": 1.0}]}}})),
            "result.json cannot be used: parts.0.arms.own.success.0.low is missing",
        ),
        (
            json.dumps(made.result_json({"regret": {"own": {"mean": "x", "low": 0, "high": 1}}})),
            "parts.0.regret.own.mean: it should be a valid number",
        ),
        (
            json.dumps(made.result_json(subject={"kind": "moon", "name": "m"})),
            "subject.kind: it should be 'run', 'model', 'policy' or 'endpoint'",
        ),
        (json.dumps({**made.HEAD, "schema": 1, "parts": []}), "result.json is of another version of codctl"),
    ],
    ids=str,
)
def test_a_damaged_one_is_listed_with_what_is_wrong(tmp_path: Path, content: str, problem: str) -> None:
    folder = evaluation(tmp_path, "tiny-curve-aaaa1111", to_play_again=0)
    evaluation(tmp_path, "tiny-curve-bbbb2222", to_play_again=0)
    (folder / "result.json").write_text(content)
    states = {one.id: (one.state, one.problem) for one in list_evaluations(tmp_path)}
    assert states["bbbb2222"] == ("finished", "")
    state, found = states["aaaa1111"]
    assert state == "damaged"
    assert problem in found
