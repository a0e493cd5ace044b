"""How runs and sweeps stand, by their files and by the queue, without reading more than is needed."""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from codctl.errors import UsageError
from codctl.jobs.jobs import Jobs
from codctl.jobs.listing import list_all
from codctl.jobs.overview import SHOWN, alive_or_recent, overview
from codctl.jobs.targets import find_targets
from codctl.runs.directory import RunDirectory
from tests.jobs.conftest import Clients, squeue_line
from tests.jobs.many_trials import bring_to, holding, make_run, make_sweep

COUNTS = {"finished": 30, "running": 6, "failed": 14, "queued": 8, "planned": 5, "cancelled": 3}


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A sweep in the middle of its work. Treat as read-only."""
    sweep = make_sweep(tmp_path_factory.mktemp("big"), "big", COUNTS)
    with holding(*(sweep / "trials" / f"running-{i}" for i in range(COUNTS["running"]))):
        yield sweep


@pytest.fixture
def no_slurm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


_opened: list[str] | None = None


def _audit(event: str, args: tuple[object, ...]) -> None:
    if event == "open" and _opened is not None:
        _opened.append(str(args[0]))


sys.addaudithook(_audit)  # cannot be taken back; without a list it does nothing


def opened_by(folder: Path) -> Counter[str]:
    global _opened
    _opened = []
    try:
        overview([], [folder], Jobs())
        return Counter(Path(name).name for name in _opened if name.startswith(str(folder)))
    finally:
        _opened = None


def test_a_sweep_is_counted_and_what_is_not_complete_is_named(big: Path, no_slurm) -> None:
    [found] = overview([], [big], Jobs())["sweeps"]
    assert found["counts"] == COUNTS
    assert (found["trials"], found["complete"]) == (sum(COUNTS.values()), COUNTS["finished"])
    shown = Counter(entry["status"] for entry in found["open"])
    assert shown == {"failed": SHOWN // 2, "running": 6, "queued": 4}  # failures do not hide what runs
    assert found["open_not_shown"] == sum(COUNTS.values()) - COUNTS["finished"] - SHOWN
    assert found["seconds_per_trial"] > 0
    assert found["left_s"] is not None
    failed = found["open"][0]
    assert failed["message"] == "ValueError: a task without a name"
    assert failed["next"] == "codctl logs big/failed-0"  # while the sweep is at work it is not resumed
    running = next(entry for entry in found["open"] if entry["status"] == "running")
    assert (running["phase"], running["step"], running["steps"]) == ("train", 12, 100)
    assert running["success"] == [0.1, 0.11, 0.12, 0.13]  # of the validation at step 10, not of step 12
    assert (running["success_in"], running["success_step"]) == ("validation", 10)
    assert running["sign_of_life_s"] >= 0


def test_of_a_trial_that_ended_only_its_last_attempt_is_read(big: Path, no_slurm) -> None:
    found = opened_by(big)
    assert found["manifest.json"] <= sum(COUNTS.values()) - COUNTS["finished"]
    assert found["metrics.jsonl"] <= SHOWN
    assert found["config.json"] <= SHOWN + COUNTS["finished"]  # a finished one may have been extended since
    ended = COUNTS["finished"] + COUNTS["failed"] + COUNTS["cancelled"]
    assert found["attempt.json"] <= 2 * (ended + COUNTS["running"])
    assert found["dispatch.json"] <= 2 * (sum(COUNTS.values()) - COUNTS["finished"])
    assert found["lock"] == COUNTS["running"] + 1  # and the sweep's own
    assert found.total() < 5 * sum(COUNTS.values())


def test_one_question_for_all_jobs_and_the_queue_knows_better(big: Path, clients: Clients, tmp_path: Path) -> None:
    clients.program("squeue", f"echo asked >> {tmp_path}/asked; echo '{squeue_line('7_1', 'RUNNING', big)}'")
    jobs = Jobs()
    [found] = overview([], [big], jobs)["sweeps"]
    assert found["counts"]["running"] == COUNTS["running"] + COUNTS["queued"]
    overview([], [big], jobs)
    assert (tmp_path / "asked").read_text() == "asked\n"  # the second look was too soon to ask again


@pytest.mark.usefixtures("clients")
def test_a_job_that_vanished_is_no_longer_waited_for(tmp_path: Path) -> None:
    run = make_run(tmp_path, "a")
    bring_to(run, "queued")
    [found] = overview([run], [], Jobs())["runs"]
    assert (found["status"], found["next"]) == ("died", "codctl resume a")


def test_without_slurm_files_are_believed_and_it_is_said_once(tmp_path: Path, no_slurm) -> None:
    runs = [make_run(tmp_path, name) for name in "ab"]
    for run in runs:
        bring_to(run, "queued")
    jobs = Jobs()
    overview(runs, [], jobs)
    found = overview(runs, [], jobs)
    assert [entry["status"] for entry in found["runs"]] == ["queued", "queued"]
    assert len(found["notes"]) == 1
    assert "no squeue" in found["notes"][0]


def test_a_trial_without_its_suites_is_not_complete(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path, "s", {"finished": 2})
    document = json.loads((sweep / "sweep.json").read_text())
    for trial in document["trials"]:
        trial["suites"] = [{"name": "hard", "suite": "in-domain-hard", "overrides": []}]
    (sweep / "sweep.json").write_text(json.dumps(document))
    done = sweep / "trials" / "finished-0" / "suites" / "hard"
    done.mkdir(parents=True)
    (done / "result.json").write_text("{}")
    [found] = overview([], [sweep], Jobs())["sweeps"]
    assert found["counts"] == {"finished": 1, "incomplete": 1}
    assert [(entry["name"], entry["missing_suites"]) for entry in found["open"]] == [("s/finished-1", ["hard"])]


def test_a_damaged_run_says_what_is_wrong_and_hides_no_other(tmp_path: Path) -> None:
    bring_to(make_run(tmp_path, "a"), "finished")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "manifest.json").write_text("{")
    (tmp_path / "b" / "attempts").write_text("no folder")
    runs, sweeps, _ = alive_or_recent(tmp_path, Jobs())
    found = overview(runs, sweeps, Jobs())["runs"]
    assert [entry["status"] for entry in found] == ["finished", "unreadable"]
    assert found[1]["message"]


def test_nothing_is_read_behind_a_trial_that_is_a_link(tmp_path: Path) -> None:
    run = make_run(tmp_path, "mine")
    bring_to(run, "finished")
    [entry] = overview([run], [], Jobs())["runs"]
    assert entry["success"]
    sweep = make_sweep(tmp_path, "gift", {"planned": 1})
    trial = sweep / "trials" / "planned-0"
    shutil.rmtree(trial)
    trial.symlink_to(run.path)
    [found] = overview([], [sweep], Jobs())["sweeps"]
    [entry] = found["open"]
    assert (entry["status"], entry["success"], entry["phase"], entry["attempt"]) == ("unreadable", [], None, None)
    [_, listed] = list_all(tmp_path, trials=True)
    assert listed["status"] == "unreadable: it is a link, and links in a sweep are not followed"
    assert (listed["phase"], listed["step"], listed["recipe"]) == (None, None, None)


def test_names_mean_runs_trials_and_sweeps(big: Path, tmp_path: Path) -> None:
    runs_dir = big.parents[1]
    found = find_targets(runs_dir, ["big", "big/failed-3", str(big), "big/failed-3"])
    assert [run.title for run in found.runs] == ["big/failed-3"]
    assert found.sweeps[0] == big
    with pytest.raises(UsageError) as missing:
        find_targets(runs_dir, ["bog"])
    assert missing.value.hint == "did you mean big?"
    make_run(tmp_path, "x")
    make_sweep(tmp_path, "x", {"planned": 1})
    with pytest.raises(UsageError) as both:
        find_targets(tmp_path, ["x"])
    assert both.value.message == "'x' names both a run and a sweep"
    assert RunDirectory(tmp_path / "x").path in [run.path for run in find_targets(tmp_path, [str(tmp_path / "x")]).runs]
