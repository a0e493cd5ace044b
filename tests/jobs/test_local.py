"""Jobs on this machine: they run beside each other, and none is ever left over."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from codctl.errors import PreflightError
from codctl.jobs.local import Job, Slots, run_all

CODE = Path(__file__).parents[2]
EIGHT_CORES = Slots(cores=8)


class Told:
    """Everything that a caller of run_all hears."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.changes: list[tuple[str, int | str]] = []

    def on_change(self, job: Job, what: int | str) -> None:
        self.changes.append((job.run.name, what))


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def play(stand_in: Path, tmp_path: Path, told: Told) -> Callable[..., dict[str, int]]:
    """Run one stand-in per list of verbs; exit codes by name (a, b, c, …)."""

    def play(*verbs: Sequence[str], gpus: int = 0, slots: Slots = EIGHT_CORES, **options: Any) -> dict[str, int]:
        names = [chr(ord("a") + number) for number in range(len(verbs))]
        for name in names:
            (tmp_path / name).mkdir(exist_ok=True)

        def command(run: Path) -> list[str]:
            return [sys.executable, str(stand_in), str(run), *verbs[names.index(run.name)]]

        codes = run_all(
            [Job(tmp_path / name, gpus=gpus) for name in names],
            code=CODE,
            slots=slots,
            say=told.said.append,
            command=command,
            **{"on_change": told.on_change, **options},
        )
        return {run.name: code for run, code in codes.items()}

    return play


def test_each_job_sees_its_own_gpus_and_nothing_else(play: Any, tmp_path: Path, told: Told) -> None:
    verbs = ["up", "environment", "together=2"]
    codes = play(verbs, verbs, verbs, verbs, gpus=2, slots=Slots(gpus=("0", "1", "2", "3"), cores=1))
    assert codes == {"a": 0, "b": 0, "c": 0, "d": 0}
    running = 0
    for _name, what in told.changes:
        running += 1 if what == "started" else -1
        assert running <= 2
    seen = [json.loads((tmp_path / name / "environment").read_text())["CUDA_VISIBLE_DEVICES"] for name in "abcd"]
    assert seen[:2] == ["0,1", "2,3"]
    assert set(seen[2:]) <= {"0,1", "2,3"}


def test_a_job_without_a_gpu_sees_none_and_keeps_to_its_threads(play: Any, tmp_path: Path) -> None:
    play(["environment"])
    seen = json.loads((tmp_path / "a" / "environment").read_text())
    assert seen["CUDA_VISIBLE_DEVICES"] == ""
    assert seen["OMP_NUM_THREADS"] == seen["MKL_NUM_THREADS"] == "1"
    assert seen["PYTHONPATH"].split(os.pathsep)[0] == str(CODE)


def test_a_job_that_can_never_run_is_refused_before_any_starts(play: Any, told: Told) -> None:
    with pytest.raises(PreflightError, match="a job needs 3 GPUs"):
        play([], gpus=3, slots=Slots(gpus=("0",)))
    assert told.changes == []


def test_exit_codes_and_output_come_back(play: Any, tmp_path: Path, told: Told) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "worker.log").write_text("earlier\n")
    codes = play(["say=hello"], ["exit=4"], ["kill=9"], slots=Slots(cores=1))
    assert codes == {"a": 0, "b": 4, "c": 137}
    assert told.changes == [("a", "started"), ("a", 0), ("b", "started"), ("b", 4), ("c", "started"), ("c", 137)]
    assert (tmp_path / "a" / "worker.log").read_text() == "earlier\nhello\n"


def test_what_a_job_leaves_behind_is_ended(play: Any, tmp_path: Path, lives: Any) -> None:
    assert play(["child"]) == {"a": 0}
    assert not lives(int((tmp_path / "a" / "child").read_text()))


def test_enough_failures_stop_the_rest_but_not_what_runs(play: Any, tmp_path: Path, told: Told) -> None:
    begun, gate = tmp_path / "b" / "pid", tmp_path / "gate"

    def open_gate(job: Job, what: int | str) -> None:
        if (job.run.name, what) == ("a", 4):
            gate.touch()

    verbs = [[f"until={begun}", "exit=4"], ["up", f"until={gate}"], ["exit=0"]]
    codes = play(*verbs, max_failures=1, slots=Slots(cores=2), on_change=open_gate)
    assert codes == {"a": 4, "b": 0}
    assert told.said == ["starting no more jobs (1 left): 1 failed, and max_failures is 1"]


def test_the_same_error_three_times_at_first_stops_the_rest(play: Any, told: Told) -> None:
    verbs = ["say=Traceback", "say=ValueError: no such key in RUN", "exit=1"]
    assert play(*[verbs] * 5, slots=Slots(cores=1)) == {"a": 1, "b": 1, "c": 1}
    assert told.said == [
        "starting no more jobs (2 left): the first 3 failed in the same way: ValueError: no such key in RUN"
    ]


def test_what_the_attempt_recorded_goes_before_what_was_printed(play: Any, told: Told) -> None:
    verbs = [[f"say=progress {name}", "record=the disk is full", "exit=4"] for name in "abcd"]
    assert len(play(*verbs, slots=Slots(cores=1))) == 3
    assert told.said == ["starting no more jobs (1 left): the first 3 failed in the same way: the disk is full"]


@pytest.mark.parametrize(
    "verbs",
    [
        [["say=one", "exit=1"], ["say=two", "exit=1"], ["say=one", "exit=1"], ["exit=0"]],
        [["say=one", "exit=1"], ["exit=0"], ["say=one", "exit=1"], ["say=one", "exit=1"]],
        [["say=one", "kill=9"]] * 4,  # killed from outside, or out of memory
        [["say=one", "exit=130"]] * 4,  # cancelled
    ],
)
def test_other_failures_are_each_their_own(verbs: list[list[str]], play: Any, told: Told) -> None:
    assert len(play(*verbs, slots=Slots(cores=1))) == 4
    assert told.said == []


def test_a_job_that_cannot_be_started_is_one_failed_job(play: Any, tmp_path: Path, told: Told) -> None:
    (tmp_path / "a" / "worker.log").mkdir(parents=True)
    assert play(["exit=0"], ["exit=0"], slots=Slots(cores=1)) == {"a": 4, "b": 0}
    assert told.said[0].startswith("a could not start: ")


def test_nothing_is_started_after_somebody_said_stop(play: Any, tmp_path: Path, told: Told) -> None:
    codes = play(["up"], ["up"], slots=Slots(cores=1), may_start=lambda: not (tmp_path / "a" / "pid").exists())
    assert codes == {"a": 0}
    assert told.said == ["starting no more jobs (1 left): stop requested"]


def test_a_callback_that_fails_leaves_no_child_behind(play: Any, tmp_path: Path, lives: Any, until: Any) -> None:
    class BrokenError(Exception):
        pass

    def break_(job: Job, what: int | str) -> None:
        until((tmp_path / "a" / "pid").exists, "the child")
        raise BrokenError

    with pytest.raises(BrokenError):
        play(["up", "sleep"], on_change=break_)
    assert not lives(int((tmp_path / "a" / "pid").read_text()))


PARENT = """
import sys
from pathlib import Path
from codctl.jobs import local

folder, stand_in, end_s = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
local.END_S = end_s
try:
    local.run_all(
        [local.Job(folder / name) for name in ("a", "b")],
        code=Path(sys.argv[4]),
        slots=local.Slots(cores=2),
        say=lambda text: print(text, flush=True),
        on_change=lambda job, what: None,
        command=lambda run: [sys.executable, stand_in, str(run), *sys.argv[5:]],
    )
except KeyboardInterrupt:
    sys.exit(130)
"""


@dataclass(frozen=True)
class Family:
    """A process that has called run_all, and the processes below it."""

    parent: subprocess.Popen[str]
    children: list[int]

    def lived(self, lives: Callable[[int], bool]) -> list[int]:
        return [pid for pid in self.children if lives(pid)]


@pytest.fixture
def family(tmp_path: Path, stand_in: Path, until: Any) -> Iterator[Callable[..., Family]]:
    """Start a parent with two jobs, each with a child of its own; returned when all are up."""
    started: list[subprocess.Popen[str]] = []

    def start(*verbs: str, end_s: float = 10, **options: Any) -> Family:
        for name in "ab":
            (tmp_path / name).mkdir()
        argv = [sys.executable, "-c", PARENT, tmp_path, stand_in, end_s, CODE, *verbs, "child", "up", "sleep"]
        parent = subprocess.Popen([str(word) for word in argv], text=True, **{"stdout": subprocess.PIPE, **options})
        started.append(parent)
        until(lambda: len(list(tmp_path.glob("*/pid"))) == 2, "the start of both jobs")
        pids = [int(path.read_text()) for path in (*tmp_path.glob("*/pid"), *tmp_path.glob("*/child"))]
        assert len(pids) == 4
        return Family(parent, pids)

    yield start
    for parent in started:
        parent.kill()
        parent.communicate()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_stop_lets_the_children_save_and_ends_them(
    number: int, code: int, family: Any, tmp_path: Path, lives: Any
) -> None:
    found = family("polite")
    found.parent.send_signal(number)
    assert found.parent.wait(120) == code
    assert (tmp_path / "a" / "saved").exists()
    assert (tmp_path / "b" / "saved").exists()
    assert found.lived(lives) == []


def test_children_that_do_not_listen_are_killed_after_the_grace(family: Any, lives: Any) -> None:
    found = family("stubborn", end_s=0.3)
    found.parent.send_signal(signal.SIGTERM)
    assert found.parent.wait(120) == 143
    assert found.lived(lives) == []


def test_a_second_ctrl_c_kills_at_once(family: Any, lives: Any) -> None:
    found = family("stubborn", end_s=600)
    found.parent.send_signal(signal.SIGINT)
    assert "saving and stopping 2 jobs" in found.parent.stdout.readline()
    assert len(found.lived(lives)) >= 2
    found.parent.send_signal(signal.SIGINT)
    assert found.parent.wait(120) == 130
    assert found.lived(lives) == []


@pytest.mark.parametrize("manners", ["polite", "stubborn"])
def test_nobody_survives_a_parent_that_is_killed(manners: str, family: Any, lives: Any, until: Any) -> None:
    found = family(manners, end_s=0.5)
    found.parent.kill()
    until(lambda: found.lived(lives) == [], "the end of all children")


def test_a_closed_terminal_ends_the_children(family: Any, tmp_path: Path, lives: Any) -> None:
    keyboard, terminal = pty.openpty()
    found = family(
        "polite",
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(terminal)
    os.close(keyboard)  # the window is closed
    assert found.parent.wait(120) == 129
    assert (tmp_path / "a" / "saved").exists()
    assert found.lived(lives) == []


def test_nohup_is_respected(family: Any, lives: Any) -> None:
    found = family("polite", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    found.parent.send_signal(signal.SIGHUP)
    found.parent.send_signal(signal.SIGTERM)
    assert found.parent.wait(120) == 143
    assert found.lived(lives) == []
