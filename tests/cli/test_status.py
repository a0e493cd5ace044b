"""codctl status, as it is read and as it is watched."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from codctl.cli import status
from codctl.runs.directory import RunDirectory
from codctl.runs.progress import Beating
from tests.jobs.many_trials import bring_to, holding, make_run, make_sweep


@pytest.fixture(autouse=True)
def _no_slurm(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(home))


class Nothing:
    """A display that nobody looks at."""

    def update(self, phase: str, done: int, total: int, metrics: Mapping[str, float]) -> None: ...

    def message(self, text: str) -> None: ...


def wait_for(is_there: Callable[[], bool], run: RunDirectory) -> None:
    """Until the heartbeat says so."""
    deadline = time.monotonic() + 30
    while not is_there():
        assert time.monotonic() < deadline
        assert run.beat is not None
        run.beat.now()
        time.sleep(0.01)


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
    assert lines[0].split() == ["name", "status", "on", "at", "took", "success", "by", "position", "alive", "job"]
    assert lines[1].split()[:4] == ["failed", "failed", "CoD-Train", "12/100"]
    assert lines[3].split() == ["queued", "queued", "slurm", "7_1"]
    assert lines[4].split()[:5] == ["running", "running", "local", "CoD-Train", "12/100"]
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


def test_what_a_running_run_does_and_how_long_that_takes(cli, home: Path) -> None:
    run = make_run(home / "runs", "a")
    with run.start_attempt():
        assert run.beat is not None
        shown = Beating(Nothing(), run.beat)
        cells = []
        beat = run.beat.doing
        for done, total in ((0, 0), (3, 10)):
            shown.update("warm start", done, total, {})
            found = {"phase": "warm start", "done": done, "total": total, "left_s": 95.0 if total else None}
            assert {**(beat() or {}), "left_s": found["left_s"]} == found
            run.beat.doing = found.copy
            wait_for(lambda expected=found: (run.heartbeat() or {}).get("doing") == expected, run)
            cells.append(cli("status").out.splitlines()[1])
        entry = cli("runs", "list", "--json").json["result"]["runs"][0]
    assert cells[0].split()[2:5] == ["local", "warm", "start"]
    assert re.search(r"warm start 3/10, (95|94|93|92) s left  0:0\d", cells[1])
    assert entry["doing"] == {"phase": "warm start", "done": 3, "total": 10}
    assert 90 < entry["left_s"] <= 95
    assert entry["elapsed_s"] >= 0
    assert cli("status", "--json").json["result"]["runs"][0]["left_s"] is None  # it is finished


@pytest.mark.parametrize("command", ["status", "runs list"])
def test_colours_where_they_are_wanted(cli, home: Path, monkeypatch, command: str) -> None:
    bring_to(make_run(home / "runs", "a"), "failed")
    assert "\033" not in cli(*command.split()).out
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\033[31mfailed\033[0m" in cli(*command.split()).out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\033" not in cli(*command.split()).out


@pytest.mark.parametrize("damage", ["remove", "spoil"])
def test_a_run_without_its_config_says_what_to_type(cli, home: Path, damage: str) -> None:
    run = make_run(home / "runs", "a")
    bring_to(run, "finished")
    config = run.path / "config.json"
    config.unlink() if damage == "remove" else config.write_text("[]")
    unfit = "config.json cannot be used: content: it should be a valid dictionary, but it is []"
    problem = "config.json is missing" if damage == "remove" else unfit
    mend = "cp runs/a/attempts/001/config.json runs/a/config.json"
    assert f"a: finished, {problem}\n  → {mend}\n" in cli("status", "a").out
    assert f"problem   {problem} → {mend}\n" in cli("runs", "show", "a").out
    for command in ("report", "resume"):
        outcome = cli(command, "a")
        assert outcome.code == 2
        assert outcome.err == f"error: runs/a/config.json: {problem}\n  → {mend}\n"
    shutil.rmtree(run.path / "attempts")
    assert "→ codctl train --fresh" in cli("report", "a").err


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
        "a: running, CoD-Train 12/100, 0.10 0.11 0.12 0.13",
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
