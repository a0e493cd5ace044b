"""Ways to lose the terminal, the log or the tracker during a training: the weights are those of an undisturbed run."""

from __future__ import annotations

import errno
import logging
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from codctl.log import log
from codctl.runs.directory import RunDirectory
from codctl.startup import Data, Talk

FINAL = Path("stages/cod_train/final/model.safetensors")


@dataclass
class Setting:
    """What a way to lose something may work on.

    Attributes:
        patch: For the test.
        at_step_1: Called in the middle of the first training step.
        at_the_end: Called after the training.
        overrides: Of the recipe.
    """

    patch: pytest.MonkeyPatch
    at_step_1: list[Callable[[], object]] = field(default_factory=list)
    at_the_end: list[Callable[[], object]] = field(default_factory=list)
    overrides: list[str] = field(default_factory=list)

    def streams(self, name: str, kind: type[Talk | Data], descriptor: int, encoding: str = "utf-8") -> None:
        stream = kind(os.fdopen(descriptor, "wb", closefd=False), encoding=encoding, line_buffering=True)
        self.patch.setattr(sys, name, stream)


def stderr_without_a_reader(setting: Setting) -> None:
    reading, writing = os.pipe()
    setting.streams("stderr", Talk, writing)
    setting.at_step_1.append(lambda: os.close(reading))


def stdout_without_a_reader(setting: Setting) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    setting.streams("stdout", Data, writing)


def stderr_on_a_full_disk(setting: Setting) -> None:
    setting.streams("stderr", Talk, os.open("/dev/full", os.O_WRONLY))


def a_terminal_that_hangs_up(setting: Setting) -> None:
    leader, follower = pty.openpty()
    setting.patch.setenv("TERM", "xterm")
    setting.streams("stderr", Talk, follower)
    assert sys.stderr.isatty()  # so that the live display is shown
    setting.at_step_1.append(lambda: os.close(leader))


def a_terminal_that_knows_ascii(setting: Setting) -> None:
    setting.streams("stderr", Talk, os.open(os.devnull, os.O_WRONLY), encoding="ascii")


def a_log_on_a_full_disk(setting: Setting) -> None:
    def fill() -> None:
        [handler] = [one for one in log.handlers if isinstance(one, logging.FileHandler)]
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, handler.stream.fileno())
        os.close(full)

    setting.at_step_1.append(fill)


def a_log_handler_that_raises(setting: Setting) -> None:
    class Raises(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise ConnectionError("the log collector is gone")

    setting.patch.setattr(log, "handlers", [Raises()])


def a_display_that_raises(setting: Setting) -> None:
    from codctl.runs.pace import PlainDisplay

    def fail(*_: object) -> None:
        raise RuntimeError("no display")

    def fail_from_now_on() -> None:
        for name in ("update", "message"):
            setting.patch.setattr(PlainDisplay, name, fail)

    setting.at_step_1.append(fail_from_now_on)


def a_report_that_cannot_be_written(setting: Setting) -> None:
    import codctl.report as report

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    setting.patch.setattr(report, "write_report", fail)


def _with_sender(setting: Setting, seconds: int) -> list[subprocess.Popen[bytes]]:
    from codctl.tracking import sender

    started: list[subprocess.Popen[bytes]] = []

    def start(*_: object) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(["sleep", str(seconds)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin
        assert process.stdout
        setting.at_the_end += [process.kill, process.wait, process.stdin.close, process.stdout.close]
        started.append(process)
        return process

    setting.patch.setattr(sender, "start", start)
    setting.patch.setattr(sender, "_FINISH_DEADLINE_S", 0.2)
    setting.overrides.append("tracking.mlflow=true")
    return started


def a_tracker_that_is_killed(setting: Setting) -> None:
    started = _with_sender(setting, 600)
    setting.at_step_1.append(lambda: started[0].kill())


def a_tracking_server_that_does_not_answer_any_more(setting: Setting) -> None:
    _with_sender(setting, 600)


def a_tracker_that_raises(setting: Setting) -> None:
    from codctl.tracking.sender import Sender

    def fail(*_: object) -> None:
        raise RuntimeError("a tracker with a fault of its own")

    _with_sender(setting, 0)
    setting.patch.setattr(Sender, "end", fail)


WAYS = {
    stderr_without_a_reader: 0,
    stdout_without_a_reader: 141,
    stderr_on_a_full_disk: 0,
    a_terminal_that_hangs_up: 0,
    a_terminal_that_knows_ascii: 0,
    a_log_on_a_full_disk: 0,
    a_log_handler_that_raises: 0,
    a_display_that_raises: 0,
    a_report_that_cannot_be_written: 0,
    a_tracker_that_is_killed: 0,
    a_tracking_server_that_does_not_answer_any_more: 0,
    a_tracker_that_raises: 0,
}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_nothing_that_only_tells_of_a_training_changes_it(
    way: Callable[[Setting], None], warm: Path, trained: Any, in_step: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from codctl.cli.main import run

    happened = []
    with monkeypatch.context() as patch:
        setting = Setting(patch)
        way(setting)
        in_step(1, lambda: (happened.append(1), *(act() for act in setting.at_step_1)))
        code = run(["train", "micro.yaml", "--name", "other", *setting.overrides])
    for act in setting.at_the_end:
        act()
    assert happened == [1]
    assert code == WAYS[way]
    other = RunDirectory.open(warm / "other")
    assert other.status() == "finished"
    assert (other.path / FINAL).read_bytes() == (trained.runs_dir / "micro" / FINAL).read_bytes()
