"""One damaged trial stops neither the sweep nor a list, and what is proposed for it works."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from codctl.jobs.jobs import Jobs
from codctl.jobs.launcher import JobState
from codctl.jobs.overview import overview
from codctl.jobs.status import statuses
from codctl.runs.directory import RunDirectory, read_sweep
from codctl.sweeps import prepare
from codctl.sweeps.results import sum_up
from codctl.sweeps.trials import states_of
from tests.jobs.many_trials import make_sweep

DAMAGE: dict[str, Callable[[Path], object]] = {
    "manifest": lambda trial: (trial / "manifest.json").write_text('{"a":' * 100_000),
    "no-manifest": lambda trial: (trial / "manifest.json").unlink(),
    "config": lambda trial: (trial / "config.json").write_text("[]"),
    "attempt": lambda trial: (trial / "attempts" / "001" / "attempt.json").write_text('{"outcome": "won"}'),
    "link": lambda trial: (trial / "stages").symlink_to("/etc"),
}


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    folder = make_sweep(tmp_path, "s", {"cancelled": 2, "finished": 1})
    plan = json.loads((folder / "sweep.json").read_text())
    (folder / "sweep.json").write_text(json.dumps({**plan, "command": ["codctl", "sweep", "tiny", "seed=0,1"]}))
    return folder


@pytest.mark.parametrize("damage", DAMAGE)
def test_the_others_go_on(sweep: Path, damage: str) -> None:
    DAMAGE[damage](sweep / "trials" / "cancelled-0")
    plan = read_sweep(sweep)
    assert plan is not None
    entries = plan["trials"]
    found = states_of(sweep, entries, Jobs(), retry_failed=True, can_remake=False)
    assert [(one.name, one.status, one.verdict) for one in found] == [
        ("cancelled-0", "unreadable", "failed"),
        ("cancelled-1", "cancelled", "run"),
        ("finished-0", "finished", "complete"),
    ]
    assert found[0].message
    again = states_of(sweep, entries, Jobs(), retry_failed=True)
    assert [one.verdict for one in again] == ["run", "run", "complete"]


def test_what_status_proposes_is_the_command_that_makes_it_again(sweep: Path) -> None:
    (sweep / "trials" / "cancelled-0" / "manifest.json").write_text("{")
    [found] = overview([], [sweep], Jobs())["sweeps"]
    assert {one["name"]: one["next"] for one in found["open"]} == {
        "s/cancelled-0": f"codctl sweep tiny seed=0,1 --retry-failed --runs-dir {sweep.parents[1]}",
        "s/cancelled-1": "codctl resume s/cancelled-1",
    }


def test_a_damaged_plan_is_named_and_its_trials_are_still_shown(sweep: Path) -> None:
    (sweep / "sweep.json").write_text(json.dumps({"schema": 1, "trials": [{"name": "../../x"}]}))
    found = overview([], [sweep], Jobs())
    assert "name is missing" in found["notes"][0]
    assert found["sweeps"][0]["trials"] == 3
    prepare.move_aside(sweep)
    assert [path.name for path in sweep.parent.iterdir()] == ["s.old-1"]


def test_a_damaged_run_in_a_list_says_what_to_type(sweep: Path) -> None:
    run = RunDirectory(sweep / "trials" / "cancelled-0")
    record = run.path / "attempts" / "001" / "attempt.json"
    record.write_text("{")
    [found] = overview([run], [], Jobs())["runs"]
    assert (found["status"], found["next"]) == ("unreadable", f"rm {record}")
    assert found["note"].startswith("attempt.json cannot be used: it is not JSON")


def test_page_status_and_trackers_say_the_same_of_a_trial_whose_job_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_sweep(tmp_path, "s", {"finished": 1, "queued": 1})
    monkeypatch.setattr(Jobs, "states", lambda _, jobs: {job: JobState(job.id, "gone") for job in jobs})
    result = sum_up(folder)
    [shown] = overview([], [folder], Jobs())["sweeps"]
    trials = [RunDirectory(folder / "trials" / name) for name in ("finished-0", "queued-0")]
    assert {one.name: one.status for one in result.trials} == {"finished-0": "finished", "queued-0": "died"}
    assert shown["counts"] == {"finished": 1, "died": 1}
    assert statuses(trials, Jobs()) == ["finished", "died"]
    assert result.incomplete[-1].hint.endswith("--retry-failed")
