"""`codctl train` from the outside."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from codctl.runs.lock import RunLock


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


def test_a_finished_run_says_how_it_did_and_trains_no_more(cli, home: Path, trained) -> None:
    shutil.copytree(trained.runs_dir, home / "runs")
    outcome = cli("train", str(trained.recipe))
    assert outcome.code == 0, outcome.err
    run, report, _, header, before, after = outcome.out.splitlines()
    assert (run, report) == ("run     runs/micro", "report  runs/micro/report.html")
    assert header.split() == ["success", "at", "position", "0", "1", "2"]
    shares = json.loads(trained.done.stdout)["result"]["metrics"]
    for name, line in (("before", before), ("after", after)):
        assert line.split() == [name, *(f"{share:.3f}" for share in shares[name]["own"])]
    metrics = Path("micro", "metrics.jsonl")
    assert (home / "runs" / metrics).read_bytes() == (trained.runs_dir / metrics).read_bytes()


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
    assert "the same command continues: codctl train micro.yaml" in rest
    assert "Traceback" not in rest
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "report" in again.stdout
