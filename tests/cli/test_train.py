"""`codctl train` from the outside."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from codctl.files.lock import RunLock


def test_the_result_is_one_object_and_progress_goes_to_stderr(trained) -> None:
    [line] = trained.done.stdout.splitlines()
    result = json.loads(line)["result"]
    assert set(result) >= {"run", "report", "metrics"}
    assert Path(trained.runs_dir.parent, result["report"]).is_file()
    assert "CoD-Train 2/2" in trained.done.stderr
    assert "Traceback" not in trained.done.stderr


def test_a_finished_run_is_left_as_it_is_and_another_config_is_refused(cli, trained) -> None:
    shared = ["train", str(trained.recipe), "--runs-dir", str(trained.runs_dir), "--dry-run"]
    assert cli(*shared).code == 0
    assert cli(*shared, "runtime.progress_s=7").code == 0
    outcome = cli(*shared, "seed=1")
    assert outcome.code == 6
    assert "seed: 0 → 1" in outcome.err
    assert "--fresh" in outcome.err
    assert cli(*shared, "seed=1", "--fresh").code == 0


def test_a_finished_run_shows_its_result_and_nothing_else_happens(cli, home: Path, trained) -> None:
    shutil.copytree(trained.runs_dir, home / "runs")
    before = {path: path.stat().st_mtime_ns for path in (home / "runs").rglob("*") if path.is_file()}
    outcome = cli("train", str(trained.recipe), "runtime.progress_s=7")
    assert outcome.code == 0, outcome.err
    assert outcome.err == "ignored, since the run is finished: runtime.progress_s 1.0 → 7.0\n"
    lines = outcome.out.splitlines()
    assert lines[:3] == [
        "runs/micro is finished",
        "run     runs/micro",
        "report  runs/micro/report.html",
    ]
    first, after = (lines.index(line) for line in lines if line.startswith("success "))
    assert lines[first].startswith("success before, warm start (step 0)  task 1  task 2  task 3")
    assert lines[after].startswith("success after, step 2 ")
    found = json.loads(trained.done.stdout)["result"]
    names = {"own": "own hints", "none": "no hints"}
    for row, (arm, shares) in zip(lines[after + 1 :], found["metrics"]["after"].items(), strict=False):
        assert row.split() == [*names[arm].split(), *(f"{share:.2f}" for share in shares)]
    assert [line.split()[1] for line in lines[after + 3 : after + 5]] == ["knows", "learns"]
    assert lines[after + 5].startswith("why: with its own hints it solves ")
    assert re.fullmatch(
        r"warning: \d+ of 16 replies were cut at the token limit: raise sampling.solve_tokens \(8\) and "
        r"sampling.update_tokens \(12\)",
        lines[-1],
    )
    assert outcome.out == cli("resume", "micro").out
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert cli("train", str(trained.recipe), "--json").json["result"]["ceilings"] == found["ceilings"]


def test_a_finished_run_with_a_damaged_result_is_not_called_finished(cli, home: Path, trained) -> None:
    shutil.copytree(trained.runs_dir, home / "runs")
    (home / "runs/micro/stages/evaluation/after/result.json").write_text("{}")
    outcome = cli("resume", "micro")
    assert outcome.code == 6
    assert "missing or damaged" in outcome.err
    assert "→ codctl train micro.yaml" in outcome.err
    outcome = cli("train", str(trained.recipe))
    assert outcome.code == 0, outcome.err
    assert "after is damaged and will be made again" in outcome.err


def test_a_fork_needs_a_name_that_is_free_or_its_own(cli, home: Path, trained) -> None:
    shutil.copytree(trained.runs_dir, home / "runs")
    recipe = str(trained.recipe)
    assert cli("train", recipe, "--name", "other", "seed=3", "--fork", "micro").code == 0
    for dry in ([], ["--dry-run"]):
        outcome = cli("train", recipe, "--fork", "other", *dry)
        assert outcome.code == 6
        assert "run 'micro' exists and was not forked, so it cannot go on from 'other'" in outcome.err
        assert "--fork other --name OTHER makes a new run" in outcome.err
        assert cli("train", recipe, "--name", "other", "seed=3", "--fork", "micro", *dry).code == 0
        outcome = cli("train", recipe, "--name", "other", "seed=3", "--fork", "third", *dry)
        assert (outcome.code, "was forked from 'micro'" in outcome.err) == (6, True)
    outcome = cli("train", recipe, "--name", "new", "--fork", "nowhere", "--dry-run")
    assert (outcome.code, "no run named 'nowhere'" in outcome.err) == (2, True)
    outcome = cli("train", recipe, "--name", "new", "--fork", "micro", "model.build.width=32", "--dry-run")
    assert (outcome.code, "a checkpoint does not fit another model" in outcome.err) == (6, True)
    assert not (home / "runs" / "new").exists()
    assert cli("train", recipe, "--fork", "micro", "--fresh").code == 2  # of itself
    assert cli("train", recipe, "--name", "other", "seed=4", "--fork", "micro", "--fresh").code == 0
    origin = json.loads((home / "runs/other/manifest.json").read_text())["forked_from"]
    assert (origin["run"], origin["changed"]) == ("micro", {"seed": [0, 4]})
    assert (home / "runs/other.old-1").is_dir()


def test_a_run_in_use_is_refused(cli, trained) -> None:
    with RunLock(trained.runs_dir / "micro" / "lock"):
        outcome = cli("train", str(trained.recipe), "--runs-dir", str(trained.runs_dir))
    assert outcome.code == 6
    assert f"the run is in use by process {os.getpid()}" in outcome.err


def test_runs_dir_that_cannot_be_written(cli, home: Path, micro: str) -> None:
    (home / "file").write_text("")
    outcome = cli("train", micro, "--runs-dir", "file/runs")
    assert outcome.code == 3
    assert outcome.err.startswith("error: file/runs")
    assert "Traceback" not in outcome.err


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_says_how_to_go_on_and_goes_on(home: Path, micro: str, number: int, code: int) -> None:
    command = [sys.executable, "-m", "codctl.cli.main", "train", micro]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "CoD-Train 1/2" in line:
                process.send_signal(number)
                break
        rest = process.stderr.read()
    assert process.returncode == code
    assert "step 1 of 2, checkpoint at step 1" in rest or "all 2 steps are learned" in rest
    assert "codctl resume micro" in rest
    assert "Traceback" not in rest
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "report" in again.stdout
