"""What may be deleted, and what never."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from codctl.config.schema import Config
from codctl.errors import RefusedError
from codctl.files.lock import RunLock
from codctl.files.seal import is_sealed, sealing
from codctl.runs.clean import Piece, find, remove
from codctl.runs.directory import RunDirectory

DEAD = 4_194_305  # above the largest process number that Linux gives


def make(runs_dir: Path, name: str, *, fresh: bool = False, sweep: Path | None = None) -> RunDirectory:
    config = Config.model_validate({"name": name})
    return RunDirectory.create_or_continue(
        runs_dir, config, recipe="tiny", command=["codctl"], fresh=fresh, sweep=sweep
    )


def seal(folder: Path, content: str = "weights") -> Path:
    with sealing(folder) as temp:
        (temp / "model.bin").write_text(content)
    return folder


def finish(run: RunDirectory) -> None:
    with run.start_attempt():
        for step in (1, 2):
            seal(run.stage("cod_train") / "checkpoints" / f"step-{step:06d}")
        seal(run.stage("cod_train") / "final")


def kinds(runs_dir: Path, **wanted: bool) -> dict[str, str]:
    return {str(piece.path.relative_to(runs_dir)): piece.kind for piece in find(runs_dir, **wanted).pieces}


def clean(runs_dir: Path, **wanted: bool) -> list[str]:
    return [reason for _, reason in remove(find(runs_dir, **wanted).pieces, runs_dir)]


def test_checkpoints_of_a_finished_run_go_and_its_model_stays(tmp_path: Path) -> None:
    run, trial = make(tmp_path, "a"), make(tmp_path, "t", sweep=tmp_path / "sweeps" / "s")
    (trial.path.parents[1] / "sweep.json").write_text("{}")
    finish(run)
    finish(trial)
    seal(make(tmp_path, "unfinished").stage("cod_train") / "checkpoints" / "step-000001")
    assert kinds(tmp_path) == {}
    expected = {
        "a/stages/cod_train/checkpoints": "checkpoints",
        "sweeps/s/trials/t/stages/cod_train/checkpoints": "checkpoints",
    }
    assert kinds(tmp_path, checkpoints=True) == expected
    assert clean(tmp_path, checkpoints=True) == ["", ""]
    assert not (run.stage("cod_train") / "checkpoints").exists()
    assert is_sealed(run.stage("cod_train") / "final", verify=True)
    assert (run.status(), kinds(tmp_path, checkpoints=True)) == ("finished", {})


def test_checkpoints_stay_when_the_final_model_is_damaged(tmp_path: Path) -> None:
    run = make(tmp_path, "a")
    finish(run)
    pieces = find(tmp_path, checkpoints=True).pieces
    (run.stage("cod_train") / "final" / "model.bin").write_text("weighty")  # same size: seen only when it is read
    assert [reason for _, reason in remove(pieces, tmp_path)] == ["the run has no complete final model"]
    assert is_sealed(run.stage("cod_train") / "checkpoints" / "step-000002")


def test_nothing_of_a_run_in_use_is_touched(tmp_path: Path) -> None:
    run = make(tmp_path, "a")
    finish(run)
    (run.path / f".report.html.tmp-{DEAD}-00000000").write_text("half")
    pieces = find(tmp_path, checkpoints=True).pieces
    with RunLock(run.lock_path):
        found = find(tmp_path, checkpoints=True)
        assert found.pieces == ()
        assert all(reason.endswith(": in use") for reason in found.kept)
        for _, reason in remove(pieces, tmp_path):  # it was started between the list and the yes
            assert reason.startswith("the run is in use by process")
    assert len(find(tmp_path, checkpoints=True).pieces) == 2


def test_leftovers_of_the_dead_go_and_those_of_the_living_stay(tmp_path: Path) -> None:
    make(tmp_path, "a")
    half = tmp_path / f".b.tmp-{DEAD}-0123abcd"
    half.mkdir()
    (half / f".manifest.json.tmp-{DEAD}-0123abcd").write_text("{")
    (tmp_path / f".c.tmp-{os.getpid()}-0123abcd").mkdir()
    (tmp_path / ".mine.tmp").mkdir()
    assert kinds(tmp_path) == {half.name: "leftover"}
    assert clean(tmp_path) == [""]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f".c.tmp-{os.getpid()}-0123abcd", ".mine.tmp", "a"]


def test_only_what_fresh_moved_aside_counts_as_old(tmp_path: Path) -> None:
    make(tmp_path, "a")
    make(tmp_path, "a", fresh=True)
    (tmp_path / "notes.old-1").mkdir()
    assert kinds(tmp_path) == {}
    assert kinds(tmp_path, old=True) == {"a.old-1": "old"}
    assert clean(tmp_path, old=True) == [""]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "notes.old-1"]


def test_an_old_sweep_goes_with_its_trials_unless_one_still_runs(tmp_path: Path) -> None:
    sweep = tmp_path / "sweeps" / "s.old-1"
    trial = make(tmp_path, "t", sweep=sweep)
    (sweep / "sweep.json").write_text("{}")
    with RunLock(trial.lock_path):
        assert find(tmp_path, old=True).kept == (f"{sweep}: in use",)
    assert clean(tmp_path, old=True) == [""]
    assert not sweep.exists()


def test_code_goes_when_no_run_names_it(tmp_path: Path) -> None:
    run = make(tmp_path, "a")
    run.write_dispatch({"where": "slurm", "jobs": ["1"], "code": "1111111111111111"})
    trial = make(tmp_path, "t", sweep=tmp_path / "sweeps" / "s")
    (trial.path.parents[1] / "sweep.json").write_text("{}")
    (trial.path / "attempts" / "001").mkdir(parents=True)
    (trial.path / "attempts" / "001" / "attempt.json").write_text(
        json.dumps({"outcome": "failed", "code": "2222222222222222"})
    )
    (trial.path.parents[1] / "dispatch.json").write_text(
        json.dumps({"where": "slurm", "jobs": [], "code": "3333333333333333"})
    )
    for digest in ("1111111111111111", "2222222222222222", "3333333333333333", "lost"):
        seal(tmp_path / ".code" / digest)
    (tmp_path / ".code" / "lock").touch()
    assert kinds(tmp_path) == {".code/lost": "code"}


def test_a_shared_stage_goes_when_no_run_has_it(tmp_path: Path) -> None:
    run = make(tmp_path, "a")
    seal(run.stage("warm_start"))
    shutil.copytree(run.stage("warm_start"), tmp_path / ".stages" / "warm_start-1", copy_function=os.link)
    seal(tmp_path / ".stages" / "warm_start-2")
    assert kinds(tmp_path) == {".stages/warm_start-2": "stage"}
    shutil.rmtree(run.path)
    assert kinds(tmp_path) == {".stages/warm_start-1": "stage", ".stages/warm_start-2": "stage"}


def test_links_out_of_the_runs_folder_are_not_followed(tmp_path: Path) -> None:
    outside, runs_dir = tmp_path / "outside", tmp_path / "runs"
    finish(make(outside, "a"))
    runs_dir.mkdir()
    (runs_dir / "a").symlink_to(outside / "a")
    assert find(runs_dir, checkpoints=True).pieces == ()
    for path in (outside / "a", runs_dir / "a" / "stages", runs_dir / ".." / "outside" / "a", runs_dir):
        with pytest.raises(RefusedError, match="outside the runs folder"):
            list(remove([Piece(path, "old", 0)], runs_dir))
    assert is_sealed(outside / "a" / "stages" / "cod_train" / "final")
