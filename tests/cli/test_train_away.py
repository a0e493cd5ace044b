"""`codctl train` beyond the terminal: in the background, or on from another run's checkpoint; and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path

from codctl.runs.directory import RunDirectory

DEADLINE_S = 240.0


def ended(run: RunDirectory) -> str:
    end_s = time.monotonic() + DEADLINE_S
    while (status := run.status()) == "running":
        assert time.monotonic() < end_s, "still running"
        time.sleep(0.05)
    return status


def test_in_the_background_it_returns_when_the_worker_is_up(cli, home: Path, micro: str) -> None:
    argv = ["train", micro, "train.steps=40", "--detach"]
    sent = cli(*argv, "--json").json["result"]
    run = RunDirectory.open(home / "runs" / "micro")
    try:
        assert run.status() == "running"
        assert Path(sent["log"]).is_file()
        assert os.getsid(sent["pid"]) == sent["pid"]  # closing the terminal does not reach it
        again = cli(*argv)
        assert again.code == 6
        assert f"in use by process {sent['pid']}" in again.err
        dispatched = run.dispatch()
        assert dispatched is not None
        assert (run.root / ".code" / dispatched["code"] / "codctl").is_dir()
        run.request_stop("cancel")
        assert ended(run) == "cancelled"
    finally:
        if run.status() == "running":
            os.killpg(sent["pid"], signal.SIGKILL)
    outcome = cli("train", micro, "train.steps=40", "--detach", "--slurm")
    assert (outcome.code, "cannot be combined" in outcome.err) == (2, True)


def test_a_worker_that_cannot_start_is_told_at_once(cli, home: Path, micro: str) -> None:
    assert cli("train", micro, "--dry-run").code == 0
    runs = home / "runs"
    runs.mkdir()
    (runs / ".code").write_text("a file where the code should go")
    outcome = cli("train", micro, "--detach")
    assert outcome.code in (3, 4)
    assert outcome.err.count("error:") == 1


def test_a_fork_goes_on_with_other_settings(cli, home: Path, trained) -> None:
    shutil.copytree(trained.runs_dir, home / "runs")
    shutil.copy(trained.recipe, home / "micro.yaml")
    changed = ["train", "micro.yaml", "train.steps=3", "train.lr=2e-3"]
    refused = cli(*changed)
    assert refused.code == 6
    assert "train.lr: 0.001 → 0.002" in refused.err
    assert "train.steps" not in refused.err  # the length alone would be no reason
    assert "--fork micro --name OTHER" in refused.err
    assert "--fresh" in refused.err
    outcome = cli(*changed, "--fork", "micro", "--name", "other")
    assert outcome.code == 0, outcome.err
    assert "continuing after step 2" in outcome.err
    records = {
        name: [json.loads(line) for line in (home / "runs" / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("micro", "other")
    }
    steps = {name: [r["step"] for r in rows if r["phase"] == "train"] for name, rows in records.items()}
    assert steps == {"micro": [1, 2], "other": [1, 2, 3]}
    assert records["other"][: len(records["micro"])] == records["micro"]
    other = RunDirectory.open(home / "runs" / "other")
    assert other.manifest()["forked_from"]["checkpoint"] == "step-000002"
    again = cli(*changed, "--fork", "micro", "--name", "other")  # the same command again: nothing is left to do
    assert (again.code, len(other.attempts())) == (0, 1)
