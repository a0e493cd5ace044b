"""What a training takes of its machine is measured, and a rise that goes on is said."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from codctl.config.schema import MemoryGate
from codctl.train.memory import MemoryWatch, usage


def warnings(values: Callable[[int], float], steps: int = 2000, gate: MemoryGate | None = None) -> list[str]:
    """What is said of a run whose memory in MiB is a function of the step."""
    said: list[str] = []
    at = iter(range(1, steps + 1))
    watch = MemoryWatch(gate or MemoryGate(), said.append, lambda: {"memory/total_mib": values(next(at))})
    for step in range(1, steps + 1):
        watch.after_step(step)
    return said


def warm_up(step: int) -> float:
    return 400.0 + 20 * min(step, 30)


@pytest.mark.parametrize(
    "values",
    [
        lambda step: 1000.0,
        warm_up,
        lambda step: warm_up(step) + 800 * (step % 50 == 0),  # a validation
        lambda step: warm_up(step) + (500 if step > 700 else 0),  # a cache that was filled once
        lambda step: warm_up(step) + 37 * (step * 7919 % 13),  # noise
        lambda step: warm_up(step) + step * 0.05,  # a tenth within the run
    ],
)
def test_memory_that_does_not_keep_rising_is_not_spoken_of(values: Callable[[int], float]) -> None:
    assert warnings(values) == []


@pytest.mark.parametrize(("rise", "first"), [(5.0, 100), (1.0, 280), (0.2, 1300)])
def test_a_leak_is_spoken_of_whatever_its_speed(rise: float, first: int) -> None:
    """Also when a peak hides it now and then, and memory is given back now and then."""
    said = warnings(lambda step: warm_up(step) + rise * (step - step % 4) + 300 * (step % 50 == 0))
    assert said
    assert int(said[0].split()[1].rstrip(":")) <= first


def test_the_warning_says_how_much_and_what_to_do() -> None:
    assert warnings(lambda step: 1024.0 + 4 * step, 100)[-1] == (
        "step 100: health.memory: resident memory rose from 1.08 to 1.32 GiB and keeps rising; if memory/* in "
        "metrics.jsonl does not level off, stop the run before memory runs out: `codctl resume` continues from its "
        "last checkpoint"
    )


def test_the_gate_has_a_limit_and_can_be_off() -> None:
    assert warnings(lambda step: 1024.0 + 4 * step, 200, MemoryGate(limit=3)) == []
    assert warnings(lambda step: 1024.0 + 4 * step, 200, MemoryGate(action="off")) == []


def test_what_is_measured() -> None:
    before = usage()
    command = [sys.executable, "-c", "input()"]
    with Path(os.devnull).open() as _, subprocess.Popen(command, stdin=subprocess.PIPE) as child:
        found = usage()
        assert child.stdin
        child.stdin.close()
    assert set(found) >= {"memory/process_mib", "memory/threads"}
    assert found["memory/total_mib"] == found["memory/process_mib"] + found["memory/children_mib"]
    assert found["memory/children"] == before["memory/children"] + 1
    assert found["memory/descriptors"] >= before["memory/descriptors"] + 2
    assert found["memory/process_mib"] > 10
