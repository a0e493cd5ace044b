"""codctl status, as it is read and as it is watched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from codctl.cli import status
from tests.dispatch.many_trials import bring_to, holding, make_run, make_sweep


@pytest.fixture(autouse=True)
def _no_slurm(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(home))


def test_nothing_yet(cli) -> None:
    assert cli("status").out == "no runs in runs\n"
    outcome = cli("status", "a")
    assert (outcome.code, outcome.err.splitlines()[0]) == (2, "error: runs: no run or sweep named 'a'")


def test_each_run_with_where_it_is_and_what_to_type_next(cli, home: Path) -> None:
    runs = {state: make_run(home / "runs", state) for state in ("finished", "running", "failed", "queued")}
    for state, run in runs.items():
        bring_to(run, state)
    with holding(runs["running"].path):
        outcome = cli("status")
        found = cli("status", "--json").json["result"]
    lines = outcome.out.splitlines()
    assert lines[0].split() == ["name", "status", "on", "at", "success", "by", "position", "alive", "job"]
    assert lines[1].split()[:4] == ["failed", "failed", "train", "12/100"]
    assert lines[3].split() == ["queued", "queued", "slurm", "7_1"]
    assert lines[4].split()[:5] == ["running", "running", "local", "train", "12/100"]
    assert lines[4].endswith("s ago")
    assert lines[5:] == [
        "failed: failed, ValueError: a task without a name",
        "  → codctl logs failed, then codctl resume failed",
    ]
    assert "no squeue" in outcome.err
    assert [(entry["name"], entry["status"]) for entry in found["runs"]] == [(state, state) for state in sorted(runs)]
    assert found["runs"][3]["sign_of_life_s"] >= 0
    # With nobody at work the same files mean something else.
    assert cli("status", "running").out.splitlines()[-2:] == ["running: died", "  → codctl resume running"]


def test_another_runs_folder_is_named_in_what_to_type(cli, home: Path, monkeypatch) -> None:
    bring_to(make_run(home / "else", "a"), "cancelled")
    assert cli("status", "--runs-dir", "else").out.endswith("  → codctl resume a --runs-dir else\n")
    monkeypatch.setenv("CODCTL_RUNS_DIR", "else")
    assert cli("status").out.endswith("  → codctl resume a\n")


def test_a_sweep_in_a_line_and_its_open_trials_by_name(cli, home: Path) -> None:
    make_sweep(home / "runs", "s", {"finished": 3, "failed": 2, "cancelled": 1})
    lines = cli("status").out.splitlines()
    assert lines[0] == "sweep s: 6 trials, 3 finished, 1 cancelled, 2 failed"
    assert lines[-1] == "  → codctl resume s"
    shown = cli("status", "s").out
    assert [line.split()[:2] for line in shown.splitlines()[3:7]] == [
        ["trial", "status"],
        ["failed-0", "failed"],
        ["failed-1", "failed"],
        ["cancelled-0", "cancelled"],
    ]
    assert "s/failed-0 and 1 more: failed, ValueError: a task without a name" in shown
    assert "finished-0" not in shown
    trial = cli("status", "s/failed-1").out
    assert "s/failed-1  failed" in trial


def test_a_watch_says_what_changed_and_ends_with_the_last_run(cli, home: Path, monkeypatch) -> None:
    run = make_run(home / "runs", "a")
    bring_to(run, "running")
    record = run.path / "attempts" / "001" / "attempt.json"
    looks = []

    def wait(_seconds: float) -> None:
        looks.append(1)
        if len(looks) == 3:
            record.write_text(json.dumps({**json.loads(record.read_text()), "outcome": "finished"}))

    monkeypatch.setattr(status.time, "sleep", wait)
    with holding(run.path):
        outcome = cli("status", "--watch")
    assert outcome.code == 0
    assert outcome.out.splitlines() == [
        "a: running, train 12/100, 0.10 0.11 0.12 0.13",
        "a: finished, 0.10 0.11 0.12 0.13",
    ]


def test_leaving_a_watch_is_no_error(cli, home: Path, monkeypatch) -> None:
    run = make_run(home / "runs", "a")
    bring_to(run, "queued")

    def leave(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(status.time, "sleep", leave)
    assert cli("status", "--watch").code == 0
    assert cli("status", "--watch", "--json").code == 2
