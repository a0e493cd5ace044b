"""Ctrl-C, SIGTERM and SIGHUP during a training in the foreground: saved first, then continued to the same bits."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from codctl.runs import signals, stop
from codctl.runs.directory import RunDirectory
from codctl.runs.signals import Terminated, saved_first

FINAL = Path("stages/cod_train/final/model.safetensors")


@pytest.fixture(autouse=True)
def usual_handlers() -> Any:
    """As a terminal starts a command; a test run in the background inherits ignored signals."""
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, *signals.STOPS)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in signals.STOPS:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("number", "code", "how"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "terminated"),
        (signal.SIGHUP, 129, "the terminal was closed"),
    ],
)
def test_a_signal_saves_what_was_learned(cli, warm: Path, trained, in_step, number: int, code: int, how: str) -> None:
    in_step(1, lambda: os.kill(os.getpid(), number))
    stopped = cli("train", "micro.yaml", "--name", "other", "train.checkpoint_every=50")
    assert stopped.code == code, stopped.err
    assert stopped.err.splitlines()[-2:] == [
        f"error: {how}: step 1 of 2, checkpoint at step 1",
        "  → codctl resume other",
    ]
    run = RunDirectory.open(warm / "other")
    assert run.status() == "interrupted"
    assert run.attempts()[0]["message"] == f"interrupted by {signals.named(number)}, after saving"
    resumed = cli("resume", "other")
    assert resumed.code == 0, resumed.err
    assert (run.path / FINAL).read_bytes() == (trained.runs_dir / "micro" / FINAL).read_bytes()


def test_a_second_signal_ends_it_at_once(cli, warm: Path, in_step) -> None:
    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    in_step(1, twice)
    stopped = cli("train", "micro.yaml", "--name", "other")
    assert stopped.code == 130
    assert stopped.err.splitlines()[-2:] == [
        "error: interrupted: before the first step; finished stages are kept",
        "  → codctl resume other",
    ]
    assert "Ctrl-C again ends it at once" in stopped.err
    assert RunDirectory.open(warm / "other").status() == "interrupted"


def test_after_a_request_to_stop_a_signal_means_now(cli, warm: Path, in_step) -> None:
    """As `codctl cancel` does it: first the request, and when that takes too long, SIGTERM."""

    def cancel() -> None:
        RunDirectory.open(warm / "other").request_stop("cancel")
        os.kill(os.getpid(), signal.SIGTERM)

    in_step(1, cancel)
    stopped = cli("train", "micro.yaml", "--name", "other")
    assert stopped.code == 143
    assert RunDirectory.open(warm / "other").status() == "cancelled"


def test_a_deadline_ends_what_does_not_answer() -> None:
    said: list[str] = []

    def hang() -> None:
        with saved_first(lambda: False, said.append, deadline_s=0.05) as asked:
            os.kill(os.getpid(), signal.SIGTERM)
            assert asked.number == signal.SIGTERM
            threading.Event().wait(10)

    with pytest.raises(Terminated) as ended:
        hang()
    assert ended.value.code == 143
    assert said == [
        "SIGTERM: finishing the step and saving a checkpoint, within 0 s; SIGTERM once more ends it at once"
    ]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_saving_may_take_longer_than_the_deadline() -> None:
    with saved_first(lambda: False, lambda _: None, deadline_s=0.05) as asked:
        os.kill(os.getpid(), signal.SIGTERM)
        asked.take_time()
        threading.Event().wait(0.2)


def test_ignored_signals_stay_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup
    with signals.raised(), saved_first(lambda: False, lambda _: None) as asked:
        os.kill(os.getpid(), signal.SIGHUP)
        assert asked.number is None
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_what_a_signal_says_of_an_attempt() -> None:
    ended = stop.Signalled(signal.SIGHUP)
    assert (ended.code, ended.outcome, ended.message) == (129, "interrupted", "interrupted by SIGHUP, after saving")
