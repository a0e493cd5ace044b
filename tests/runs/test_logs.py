"""Logs that grow, are cut, and go on in the next attempt. Nothing here waits: each look at the status is a step."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from codctl.config.schema import Config
from codctl.errors import UsageError
from codctl.runs.directory import RunDirectory
from codctl.runs.logs import read_logs

Step = tuple[Callable[[], object], str]


def make(tmp_path: Path) -> RunDirectory:
    config = Config.model_validate({"name": "a"})
    return RunDirectory.create_or_continue(tmp_path, config, recipe="tiny", command=["codctl"])


def write(run: RunDirectory, attempt: int, text: str) -> None:
    path = run.log_path(attempt)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(text)


def follow(run: RunDirectory, steps: list[Step], attempt: int | None = None) -> tuple[list[str], list[str]]:
    """Follow a run while each question after its status makes the next thing happen."""
    todo, last, said = iter(steps), [""], list[str]()

    def status() -> str:
        for act, answer in todo:
            act()
            last[0] = answer
            return answer
        return last[0]

    lines: Iterator[str] = read_logs(run, attempt, follow=True, status=status, say=said.append, poll_s=0.0)
    return list(lines), said


def test_lines_come_as_they_are_written_and_the_last_one_is_not_lost(tmp_path: Path) -> None:
    run = make(tmp_path)
    write(run, 1, "one\ntw")
    steps: list[Step] = [
        (lambda: None, "running"),
        (lambda: write(run, 1, "o\n"), "running"),
        (lambda: write(run, 1, "three"), "finished"),
    ]
    assert follow(run, steps) == (["one", "two", "three"], [])


def test_a_queued_run_is_waited_for_and_followed_into_its_next_attempt(tmp_path: Path) -> None:
    run = make(tmp_path)
    steps: list[Step] = [
        (lambda: None, "queued"),
        (lambda: None, "queued"),
        (lambda: write(run, 1, "first\n"), "queued"),
        (lambda: None, "running"),
        (lambda: None, "paused"),  # the attempt has ended
        (lambda: None, "paused"),  # is there another?
        (lambda: write(run, 2, "second\n"), "paused"),
        (lambda: None, "running"),
        (lambda: None, "finished"),
    ]
    lines, said = follow(run, steps)
    assert lines == ["first", "second"]
    assert said[0] == "run 'a' is queued: waiting for its first attempt"
    assert said[1] == "attempt 1 has ended, run 'a' is paused: waiting for the next attempt"
    assert said[2] == "attempt 2"


def test_an_attempt_that_is_named_is_followed_to_its_own_end(tmp_path: Path) -> None:
    run = make(tmp_path)
    write(run, 1, "first\n")
    write(run, 2, "second\n")
    assert follow(run, [(lambda: None, "running")], attempt=1) == (["first"], [])


def test_a_log_that_is_cut_is_read_from_its_beginning(tmp_path: Path) -> None:
    run = make(tmp_path)
    write(run, 1, "a long first line\n")
    steps: list[Step] = [
        (lambda: None, "running"),
        (lambda: run.log_path(1).write_text("new\n"), "running"),
        (lambda: None, "failed"),
    ]
    assert follow(run, steps)[0] == ["a long first line", "new"]


def test_what_a_worker_said_before_it_had_a_log(tmp_path: Path) -> None:
    run = make(tmp_path)
    with pytest.raises(UsageError, match="has not been started yet"):
        list(read_logs(run))
    folder = run.path / "slurm"
    folder.mkdir()
    (folder / "12_0_log.out").write_text("ModuleNotFoundError\n")
    (folder / "123_0_log.out").write_text("another job\n")
    run.write_dispatch({"where": "slurm", "jobs": ["12"]})
    assert list(read_logs(run)) == ["ModuleNotFoundError"]
    (run.path / "worker.log").write_text("error: no such thing\n")
    assert list(read_logs(run)) == ["error: no such thing"]


def test_there_is_no_such_attempt(tmp_path: Path) -> None:
    run = make(tmp_path)
    write(run, 1, "first\n")
    with pytest.raises(UsageError, match=r"run 'a' has no attempt 7 \(it has 1 to 1\)"):
        list(read_logs(run, 7))


def test_a_huge_log_is_shown_from_its_end_and_a_long_line_from_its_start(tmp_path: Path) -> None:
    run = make(tmp_path)
    write(run, 1, "first\n")
    os.truncate(run.log_path(1), 6 << 30)  # a hole
    write(run, 1, "\nlast\n")
    about, line, last = read_logs(run)
    size = (6 << 30) + len("\nlast\n")
    assert about == f"[{run.log_path(1)} has {size} bytes: the last {64 << 20} are shown]"
    assert line == "\0" * (1 << 16) + f" [and {(64 << 20) - len('last') - 1 - (1 << 16)} more bytes]"
    assert last == "last"
