"""A copied folder is told from one that was renamed, moved or restored."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from codctl.config.schema import Config
from codctl.errors import UsageError
from codctl.jobs.jobs import Jobs
from codctl.runs import place
from codctl.runs.directory import RunDirectory


def make(runs_dir: Path, name: str = "short", sweep: Path | None = None) -> RunDirectory:
    config = Config.model_validate({"name": name})
    command = ["codctl", "train", "tiny", "--name", name]
    return RunDirectory.create_or_continue(runs_dir, config, recipe="tiny", command=command, sweep=sweep)


def sent(run: RunDirectory) -> RunDirectory:
    run.write_dispatch({"where": "slurm", "jobs": ["17"], "code": "c0dec0dec0dec0de"})
    return run


def copied(run: RunDirectory, to: Path) -> RunDirectory:
    shutil.copytree(run.path, to)
    return RunDirectory(to)


def test_a_copy_of_a_queued_run_has_no_job(tmp_path: Path) -> None:
    run = sent(make(tmp_path))
    copy = copied(run, tmp_path / "copy")
    assert (run.status(), copy.status()) == ("queued", "planned")
    assert copy.dispatch() is None


@pytest.mark.parametrize("new", ["renamed", "deep/er"])
def test_a_run_that_was_renamed_or_moved_keeps_its_jobs(tmp_path: Path, new: str) -> None:
    run = sent(make(tmp_path))
    (tmp_path / new).parent.mkdir(exist_ok=True)
    moved = RunDirectory(run.path.rename(tmp_path / new))
    assert (moved.dispatch() or {})["jobs"] == ["17"]


def test_the_links_of_scripts_that_submitit_once_left_are_no_harm(tmp_path: Path) -> None:
    run = sent(make(tmp_path))
    (run.path / "slurm").mkdir()
    (run.path / "slurm" / ".submission_file_0a.sh").symlink_to(run.path / "slurm" / "17_submission.sh")
    assert RunDirectory.open(run.path).status() == "queued"
    (run.path / ".submission_file_0a.sh").symlink_to("/etc/passwd")
    with pytest.raises(UsageError, match="is a link"):
        RunDirectory.open(run.path)


def test_a_copy_of_a_renamed_run_under_its_old_name_is_a_copy(tmp_path: Path) -> None:
    run = sent(make(tmp_path))
    run.path.rename(tmp_path / "old")
    copy = copied(RunDirectory(tmp_path / "old"), tmp_path / "short")
    assert copy.dispatch() is None
    assert RunDirectory(tmp_path / "old").dispatch() is not None


def test_a_run_that_was_restored_where_it_lay_is_no_copy(tmp_path: Path) -> None:
    run = sent(make(tmp_path))
    copied(run, tmp_path / "backup")
    shutil.rmtree(run.path)
    restored = copied(RunDirectory(tmp_path / "backup"), tmp_path / "short")
    assert restored.dispatch() is not None


def test_a_folder_from_another_machine_is_a_copy_unless_what_it_names_came_along(tmp_path: Path) -> None:
    folder = make(tmp_path).path
    elsewhere = {"path": "/data/runs/short", "inode": 1, "host": "another-machine"}
    assert place.is_copied(folder, elsewhere)
    assert not place.is_copied(folder, elsewhere, everywhere=False)
    assert not place.is_copied(folder, {**elsewhere, "host": place.of(folder)["host"]})  # its disk was changed


def test_a_copy_goes_by_its_own_name(tmp_path: Path) -> None:
    copy = copied(make(tmp_path), tmp_path / "other")
    assert copy.manifest()["name"] == copy.config().name == "other"
    assert copy.manifest()["command"] == ["codctl", "train", "tiny", "--name", "other"]
    assert copy.copy_of == "short"


def test_a_copy_with_a_name_that_no_run_may_have_can_be_read(tmp_path: Path) -> None:
    copy = copied(make(tmp_path), tmp_path / "short (copy)")
    assert copy.config().name == "short (copy)"


def test_a_trial_that_was_copied_out_of_its_sweep_is_a_run(tmp_path: Path) -> None:
    trial = make(tmp_path, "lr-1", sweep=tmp_path / "sweeps" / "s")
    assert (trial.title, trial.root) == ("s/lr-1", tmp_path)
    copy = copied(trial, tmp_path / "best")
    assert (copy.title, copy.root, copy.sweep) == ("best", tmp_path, None)


def test_a_run_that_was_copied_among_trials_is_one_of_them(tmp_path: Path) -> None:
    (tmp_path / "sweeps" / "s" / "trials").mkdir(parents=True)
    copy = copied(make(tmp_path), tmp_path / "sweeps" / "s" / "trials" / "one")
    assert (copy.title, copy.root) == ("s/one", tmp_path)


def test_a_copied_sweep_has_no_jobs(tmp_path: Path) -> None:
    sweep = tmp_path / "sweeps" / "s"
    sweep.mkdir(parents=True)
    (sweep / "sweep.json").write_text(json.dumps({"name": "s", "created": "2026-01-01T00:00:00+00:00"}))
    RunDirectory(sweep).write_dispatch({"where": "slurm", "jobs": ["18"], "code": "c0dec0dec0dec0de"})
    shutil.copytree(sweep, tmp_path / "sweeps" / "t")
    assert [job.id for job in Jobs().of_sweep(sweep)] == ["18"]
    assert Jobs().of_sweep(tmp_path / "sweeps" / "t") == ()
