"""Requests to stop, signs of life, and what a run says of itself from its files alone."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from codctl.config.schema import Config
from codctl.errors import RefusedError, UsageError
from codctl.files.seal import is_sealed, sealing
from codctl.runs import attempt, code, heartbeat, stop
from codctl.runs.directory import RunDirectory, find_run, list_runs, list_sweeps, trials_of
from codctl.runs.fork import fork


def make(runs_dir: Path, name: str = "tiny", sweep: Path | None = None, **fields: object) -> RunDirectory:
    config = Config.model_validate({"name": name, **fields})
    return RunDirectory.create_or_continue(runs_dir, config, recipe="tiny", command=["codctl"], sweep=sweep)


def stop_within_an_attempt(run: RunDirectory, kind: stop.Kind, job: str | None = None) -> None:
    with run.start_attempt(job):
        run.request_stop(kind)
        run.check_stop()


def test_a_cancelled_run_says_so_and_can_be_continued(tmp_path: Path) -> None:
    run = make(tmp_path)
    with pytest.raises(stop.Stopped) as stopped:
        stop_within_an_attempt(run, "cancel")
    assert stopped.value.code == stop.CANCELLED
    assert run.status() == "cancelled"
    assert run.attempts()[0]["outcome"] == "cancelled"
    # A worker that comes late, from a queue, does not start it again…
    with pytest.raises(stop.Stopped), run.start_attempt():
        raise AssertionError("began")
    assert len(run.attempts()) == 1
    # …until somebody continues it.
    run.clear_stop()
    with run.start_attempt():
        assert run.status() == "running"
    assert run.status() == "finished"


def test_a_paused_run_is_started_again_by_its_scheduler(tmp_path: Path) -> None:
    run = make(tmp_path)
    run.write_dispatch({"where": "slurm", "jobs": ["7"]})
    assert run.status() == "queued"
    with pytest.raises(stop.Stopped) as stopped:
        stop_within_an_attempt(run, "pause", job="7")
    assert stopped.value.code == stop.PAUSED
    assert run.status() == "paused"
    assert run.attempts()[0]["job"] == "7"
    with run.start_attempt():
        assert run.stop_requested() is None
    assert run.status() == "finished"


def test_a_scheduler_does_not_weaken_what_a_person_asked_for(tmp_path: Path) -> None:
    run = make(tmp_path)
    run.request_stop("cancel")
    run.request_stop("pause")
    assert run.stop_requested() == "cancel"


def test_a_queued_run_can_be_cancelled_and_queued_again(tmp_path: Path) -> None:
    run = make(tmp_path)
    run.write_dispatch({"where": "slurm", "jobs": ["7"]})
    run.request_stop("cancel")
    assert run.status() == "cancelled"
    run.clear_stop()
    run.write_dispatch({"where": "slurm", "jobs": ["8"]})
    assert (run.status(), run.stop_requested()) == ("queued", None)
    assert run.dispatch() == {**(run.dispatch() or {}), "where": "slurm", "jobs": ["8"], "after_attempt": 0}


def test_an_attempt_that_was_killed_has_died_and_is_taken_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = make(tmp_path)
    with run.start_attempt():
        pass
    record = attempt.folder(run.path, 1) / "attempt.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "outcome": "running", "pid": 4711}))
    assert run.status() == "died"
    with caplog.at_level(logging.WARNING, "codctl"), run.start_attempt():
        pass
    assert "attempt 1 died (process 4711 on" in caplog.text
    assert [one["outcome"] for one in run.attempts()] == ["died", "finished"]


def test_an_attempt_that_left_nothing_but_its_folder_has_died(tmp_path: Path) -> None:
    run = make(tmp_path)
    attempt.folder(run.path, 1).mkdir(parents=True)
    assert run.status() == "died"
    with run.start_attempt() as number:
        assert number == 2
    assert [one["outcome"] for one in run.attempts()] == ["died", "finished"]


def test_what_changed_since_the_last_attempt_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = make(tmp_path)
    with run.start_attempt():
        pass
    folder = attempt.folder(run.path, 1)
    found = json.loads((folder / "environment.json").read_text())
    assert found["packages"]["torch"] == found["versions"]["torch"]
    found["packages"]["torch"] = "1.0"
    (folder / "environment.json").write_text(json.dumps(found))
    record = json.loads((folder / "attempt.json").read_text())
    (folder / "attempt.json").write_text(json.dumps({**record, "code": "0123456789abcdef"}))
    with caplog.at_level(logging.WARNING, "codctl"), run.start_attempt():
        pass
    assert "packages differ from attempt 1: torch 1.0 → " in caplog.text
    assert f"code differs from attempt 1: 0123456789abcdef → {code.digest()}" in caplog.text


def test_no_secret_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "hunter2")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    run = make(tmp_path)
    with run.start_attempt():
        pass
    text = (attempt.folder(run.path, 1) / "environment.json").read_text()
    assert "hunter2" not in text
    assert json.loads(text)["variables"]["OMP_NUM_THREADS"] == "3"


def test_it_shows_signs_of_life(tmp_path: Path) -> None:
    run = make(tmp_path)
    assert run.heartbeat() is None
    with heartbeat.beating(run.path, 1, every_s=0.01):
        while (run.heartbeat() or {}).get("beat", 0) < 3:
            pass
    beat = run.heartbeat()
    assert beat is not None
    assert beat["attempt"] == 1


def test_the_code_is_kept_as_it_was(tmp_path: Path) -> None:
    found = code.snapshot(tmp_path)
    assert code.snapshot(tmp_path) == found == code.find(tmp_path, code.digest())
    assert is_sealed(found.path, verify=True)
    package = Path(code.__file__).parents[1]
    assert (found.path / "codctl/runs/code.py").read_bytes() == Path(code.__file__).read_bytes()
    assert not list(found.path.rglob("__pycache__"))
    assert {p.relative_to(package) for p in package.rglob("*.html")} == {
        p.relative_to(found.path / "codctl") for p in found.path.rglob("*.html")
    }


def test_trials_lie_below_their_sweep(tmp_path: Path) -> None:
    sweep = tmp_path / "sweeps" / "first"
    trial = make(tmp_path, "seed-0", sweep)
    (sweep / "sweep.json").write_text("{}")
    assert trial.path == sweep / "trials" / "seed-0"
    assert (trial.root, trial.sweep, trial.title) == (tmp_path, sweep, "first/seed-0")
    assert list_runs(tmp_path) == []
    assert list_sweeps(tmp_path) == [sweep]
    assert [run.path for run in trials_of(sweep)] == [trial.path]
    assert find_run(tmp_path, "first/seed-0").path == trial.path
    with pytest.raises(UsageError) as error:
        find_run(tmp_path, "first/seed-1")
    assert "did you mean first/seed-0?" in error.value.hint


def test_a_trial_that_is_a_link_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, trials = make(tmp_path, "mine"), tmp_path / "sweeps" / "gift" / "trials"
    trials.mkdir(parents=True)
    (trials / "seed-0").symlink_to(run.path)
    monkeypatch.chdir(trials)
    for name in ("gift/seed-0", str(trials / "seed-0"), "./seed-0"):
        with pytest.raises(UsageError, match="the trial is a link"):
            find_run(tmp_path, name)
    (tmp_path / "sweeps" / "other").mkdir()
    (tmp_path / "sweeps" / "other" / "trials").symlink_to(
        make(tmp_path, "seed-0", tmp_path / "sweeps" / "s").path.parent
    )
    with pytest.raises(UsageError, match="the trial is a link"):
        find_run(tmp_path, "other/seed-0")
    assert find_run(tmp_path, "s/seed-0").title == "s/seed-0"


def trained(run: RunDirectory, step: int) -> None:
    with sealing(run.stage("model")) as folder:
        (folder / "weights").write_text("0")
    with sealing(run.stage("cod_train") / "checkpoints" / f"step-{step:06d}", {"step": step}) as folder:
        (folder / "weights").write_text(str(step))
    run.metrics_path.write_text('{"step": 1, "phase": "train", "metrics": {}}\n')


def test_the_mark_moves_with_what_is_sealed(tmp_path: Path) -> None:
    run = make(tmp_path)
    assert run.mark() == "the start"
    trained(run, 2)
    assert run.mark() == "model, checkpoint step-000002"
    (run.stage("cod_train") / "checkpoints" / ".step-000004.tmp-1-a").mkdir()
    assert run.mark() == "model, checkpoint step-000002"


def test_a_fork_goes_on_from_the_newest_checkpoint(tmp_path: Path) -> None:
    source = make(tmp_path)
    config = Config.model_validate({"name": "other", "train": {"lr": 0.5}})
    with pytest.raises(UsageError, match="no checkpoint yet"):
        fork(source, tmp_path, config, recipe="tiny", command=["codctl"])
    trained(source, 2)
    trained(source, 4)
    made = fork(source, tmp_path, config, recipe="tiny", command=["codctl"])
    assert made.mark() == "model, checkpoint step-000004"
    assert made.config().train.lr == 0.5
    assert made.metrics_path.read_text() == source.metrics_path.read_text()
    forked = made.manifest()["forked_from"]
    assert (forked["run"], forked["checkpoint"], forked["changed"]) == (
        "tiny",
        "step-000004",
        {"train.lr": [1e-6, 0.5]},
    )
    with pytest.raises(RefusedError, match="there is a run of this name"):
        fork(source, tmp_path, config, recipe="tiny", command=["codctl"])
    other_model = Config.model_validate({"name": "third", "model": {"build": {"layers": 7}}})
    with pytest.raises(RefusedError) as error:
        fork(source, tmp_path, other_model, recipe="tiny", command=["codctl"])
    assert "model.build.layers: 2 → 7" in [problem.message for problem in error.value.problems]
    assert not (tmp_path / "third").exists()
