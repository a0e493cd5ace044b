"""A run's directory is made whole, is truthful about how it ended, and refuses what would spoil it."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from codctl.config.schema import Config
from codctl.errors import PreflightError, RefusedError, StageError, UsageError
from codctl.files import atomic, lock, seal
from codctl.runs import attempt, directory, manifest
from codctl.runs.directory import RunDirectory, find_run, list_runs
from codctl.tracking.jsonl import MetricsLog


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def make(runs_dir: Path, *, fresh: bool = False, **fields: object) -> RunDirectory:
    config = Config.model_validate({"name": "tiny", **fields})
    return RunDirectory.create_or_continue(
        runs_dir, config, recipe="recipes/tiny.yaml", command=["codctl", "train"], fresh=fresh
    )


def test_new_run(tmp_path: Path) -> None:
    run = make(tmp_path / "deep" / "runs", seed=7)
    assert run.path == tmp_path / "deep" / "runs" / "tiny"
    assert run.config() == Config(name="tiny", seed=7)
    content = run.manifest()
    assert content["recipe"] == "recipes/tiny.yaml"
    assert content["command"] == ["codctl", "train"]
    assert content["digest"] == json.loads((run.path / "config.json").read_text())["digest"]
    assert run.attempts() == []
    assert run.status() == "planned"
    assert run.root == tmp_path / "deep" / "runs"
    assert run.sweep is None
    assert content["machine"]["cores"] >= 1
    assert run.stage("warm_start") == run.path / "stages" / "warm_start"
    assert names(run.path.parent) == ["tiny"]


def test_attempts_are_recorded_and_logged(tmp_path: Path) -> None:
    run = make(tmp_path)
    with run.start_attempt() as number:
        assert number == 1
        assert run.status() == "running"
        logging.getLogger("codctl").info("hello")
        logging.getLogger("codctl.learner").warning("odd ✓")
    assert run.status() == "finished"
    text = run.log_path(1).read_text(encoding="utf-8")
    assert text.splitlines()[0].endswith(f"started as process {os.getpid()} on {socket.gethostname()}")
    assert text.splitlines()[-1].endswith("finished")
    assert "INFO    hello" in text
    assert "WARNING odd ✓" in text
    with make(tmp_path).start_attempt() as number:
        assert number == 2
    attempts = run.attempts()
    assert [attempt["outcome"] for attempt in attempts] == ["finished", "finished"]
    assert attempts[0]["pid"] == os.getpid()
    assert attempts[0]["ended"] >= attempts[0]["started"]
    assert logging.getLogger("codctl").handlers == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("boom"), "failed"),
        (StageError("no more data", hint="get some"), "failed"),
        (SystemExit(3), "failed"),
        (KeyboardInterrupt(), "interrupted"),
    ],
)
def test_status_on_every_way_out(tmp_path: Path, error: BaseException, status: str) -> None:
    run = make(tmp_path)
    with pytest.raises(type(error)), run.start_attempt():
        raise error
    assert run.status() == status
    assert run.attempts()[0]["outcome"] == status
    assert status in run.log_path(1).read_text()
    with run.start_attempt():
        pass
    assert run.status() == "finished"


CHILD = textwrap.dedent("""
    import sys, time
    from pathlib import Path
    from codctl.runs.directory import RunDirectory
    run = RunDirectory.open(Path(sys.argv[1]))
    try:
        with run.start_attempt():
            print("running", flush=True)
            time.sleep(60)
    except KeyboardInterrupt:
        sys.exit(130)
""")


@pytest.mark.parametrize(
    ("stop", "status", "code"),
    [
        (signal.SIGKILL, "died", -9),
        (signal.SIGTERM, "interrupted", 143),
        (signal.SIGHUP, "interrupted", 129),
        (signal.SIGINT, "interrupted", 130),
    ],
)
def test_status_after_a_signal(tmp_path: Path, stop: signal.Signals, status: str, code: int) -> None:
    run = make(tmp_path)
    with subprocess.Popen([sys.executable, "-c", CHILD, str(run.path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "running\n"
        assert run.status() == "running"
        with pytest.raises(RefusedError, match=f"in use by process {child.pid}"):
            make(tmp_path)
        with pytest.raises(RefusedError, match=f"in use by process {child.pid}"):
            make(tmp_path, fresh=True)
        child.send_signal(stop)
    assert child.returncode == code
    assert run.status() == status
    with run.start_attempt():
        pass
    assert [attempt["outcome"] for attempt in run.attempts()] == [status, "finished"]


def test_outcome_that_cannot_be_written_does_not_hide_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = make(tmp_path)

    def full(*_args: object) -> None:
        raise StageError("cannot write: the disk is full", where="manifest.json")

    def fail_on_a_full_disk() -> None:
        with run.start_attempt():
            monkeypatch.setattr(attempt.atomic, "write_json", full)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_on_a_full_disk()
    assert "could not record that the run is failed" in caplog.text
    assert run.status() == "died"


def test_same_config_continues_and_stores_new_resources(tmp_path: Path) -> None:
    make(tmp_path)
    run = make(tmp_path, runtime={"threads": 5})
    assert run.config().runtime.threads == 2  # nothing changes before the lock is held
    with run.start_attempt():
        assert run.config().runtime.threads == 5


def test_other_config_is_refused_with_the_changed_keys(tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(RefusedError) as caught:
        make(tmp_path, seed=3, train={"lr": 1e-3})
    assert [problem.message for problem in caught.value.problems] == ["seed: 0 → 3", "train.lr: 1e-06 → 0.001"]
    assert "--fresh" in caught.value.hint
    assert "--name OTHER" in caught.value.hint


def test_fresh_moves_the_old_run_aside(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        make(tmp_path, seed=seed, fresh=True)
    assert [run.name for run in list_runs(tmp_path)] == ["tiny", "tiny.old-1", "tiny.old-2"]
    assert [run.config().seed for run in list_runs(tmp_path)] == [3, 1, 2]


def test_somebody_elses_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "thesis.tex").write_text("precious")
    with pytest.raises(UsageError, match="not a run directory"):
        make(tmp_path)
    assert names(tmp_path / "tiny") == ["thesis.tex"]


def test_empty_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    assert make(tmp_path).status() == "planned"


@pytest.mark.parametrize(("call", "code"), [("mkdir", errno.EACCES), ("fsync", errno.ENOSPC)])
def test_run_that_cannot_be_made_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(PreflightError, match="cannot write") as caught:
            make(tmp_path)
    assert caught.value.where == str(tmp_path / "tiny")
    assert names(tmp_path) == []


def test_two_processes_make_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one is faster, at the worst moment: between the look and the rename."""
    real = manifest.new

    def slow(**fields: object) -> object:
        monkeypatch.setattr(manifest, "new", real)
        make(tmp_path)
        return real(**fields)

    looks = iter([False])
    monkeypatch.setattr(manifest, "new", slow)
    monkeypatch.setattr(directory, "any", lambda items: next(looks, None) or bool(list(items)), raising=False)
    assert make(tmp_path).manifest()["name"] == "tiny"
    assert names(tmp_path) == ["tiny"]


def test_leftovers_of_a_killed_attempt_are_removed(tmp_path: Path) -> None:
    run = make(tmp_path)
    (run.stage("warm_start").parent / ".warm_start.tmp-1-aa").mkdir(parents=True)
    (run.path / ".metrics.jsonl.tmp-1-aa").touch()
    (run.path / ".stop.json.tmp-1-aa").touch()  # somebody may be asking it to stop at this moment
    with run.start_attempt():
        assert list(run.stage("x").parent.iterdir()) == []
        assert [path.name for path in run.path.glob(".*.tmp-*") if "heartbeat" not in path.name] == [
            ".stop.json.tmp-1-aa"
        ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "manifest.json cannot be used: it is not JSON"),
        ("[]", r"content: it should be a valid dictionary, but it is \[\]"),
        ('{"schema": 9}', "another version of codctl made this run"),
    ],
)
def test_damaged_manifest(tmp_path: Path, content: str, message: str) -> None:
    run = make(tmp_path)
    run.manifest_path.write_text(content)
    with pytest.raises(UsageError, match=message):
        RunDirectory.open(run.path)


def test_damaged_config(tmp_path: Path) -> None:
    run = make(tmp_path)
    (run.path / "config.json").write_text("{")
    with pytest.raises(UsageError, match=r"config\.json cannot be used"):
        run.config()


def test_find_run(tmp_path: Path) -> None:
    run = make(tmp_path)
    assert find_run(tmp_path, "tiny").path == run.path
    assert find_run(tmp_path / "elsewhere", str(run.path)).path == run.path
    with pytest.raises(UsageError, match="no run named 'tinny'") as caught:
        find_run(tmp_path, "tinny")
    assert caught.value.hint == "did you mean tiny?"
    with pytest.raises(UsageError) as caught:
        find_run(tmp_path, "zzz")
    assert "codctl runs list" in caught.value.hint
    assert list_runs(tmp_path / "missing") == []


def test_importing_runs_is_light() -> None:
    code = (
        "import sys, codctl.runs.directory, codctl.tracking.tracker;"
        "print([m for m in ('torch', 'mlflow', 'numpy', 'pydantic') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def replaced(run: Path) -> None:
    """What lies under the name is a copy."""
    aside = run.rename(run.with_name("other"))
    shutil.copytree(aside, run)


@pytest.mark.parametrize("take_away", [lambda run: run.rename(run.with_name("other")), shutil.rmtree, replaced])
@pytest.mark.parametrize("in_thread", [False, True])
def test_an_attempt_ends_when_its_folder_is_moved_deleted_or_replaced(
    tmp_path: Path, take_away: Callable[[Path], object], in_thread: bool
) -> None:
    """By the next look for a request to stop, or by the next heartbeat whatever the main thread does."""
    run, before = make(tmp_path), {}

    def attempt_it() -> None:
        with run.start_attempt():
            take_away(run.path)
            before.update(snapshot_of(run.path))
            if in_thread and run.beat:
                run.beat.now()
                time.sleep(60)
            else:
                run.check_stop()

    with pytest.raises(lock.MovedError) as caught:
        attempt_it()
    assert snapshot_of(run.path) == before  # no ghost, and nothing written into another run
    moved = RunDirectory(tmp_path / "other")
    if moved.path.exists():
        assert moved.status() == "interrupted"
        assert moved.attempts()[0]["message"] == f"the folder was moved to {moved.path} while codctl worked in it"
        assert caught.value.hint == f"`codctl resume {moved.path}` continues a run from its last checkpoint"
        with moved.start_attempt() as number:
            assert number == 2


def snapshot_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def append(run: RunDirectory) -> None:
    MetricsLog(run.metrics_path).append(1, "train", {})


def make_a_folder(run: RunDirectory) -> None:
    atomic.make_folder(run.stage("cod_train") / "rollouts")


def seal_a_stage(run: RunDirectory) -> None:
    with seal.sealing(run.stage("warm_start")):
        pass


@pytest.mark.parametrize("write", [append, make_a_folder, seal_a_stage])
def test_nothing_is_written_once_the_folder_is_another_one(
    tmp_path: Path, write: Callable[[RunDirectory], None]
) -> None:
    run = make(tmp_path)

    def attempt_it() -> None:
        with run.start_attempt():
            run.path.rename(tmp_path / "other")
            write(run)
            raise AssertionError("it was written")

    with pytest.raises(lock.MovedError):
        attempt_it()
    assert not run.path.exists()
    assert make(tmp_path).status() == "planned"  # the name is free
