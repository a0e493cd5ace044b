"""A clock that jumps by days, back and forth: nothing is decided by it. Needs Debian's package faketime."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.durability import small_run
from tests.durability.conftest import WITHOUT_MLFLOW
from tests.durability.processes import Processes

LIBRARY = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)
OFFSETS = ("-3d", "+40d", "-400d", "+0", "+5d", "-1h")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(LIBRARY is None, reason="needs libfaketime (apt install faketime)")]


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that says by how much the clock is wrong; it is read at every look at the clock."""
    path = tmp_path_factory.mktemp("clock") / "offset"
    path.write_text("+0\n")
    return path


@pytest.fixture(scope="module")
def elsewhen(clock: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    env = {
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    with Processes(tmp_path_factory.mktemp("elsewhen"), env) as server:
        yield server


def test_a_run_whose_clock_jumps_ends_the_same(
    elsewhen: Processes,
    clock: Path,
    tmp_path: Path,
    outcome: Callable[[Path], dict[str, Any]],
    expected: dict[str, Any],
) -> None:
    jumps = 0
    for attempt in range(3):  # killed twice on the way
        child = elsewhen.start(*small_run.arguments(tmp_path, WITHOUT_MLFLOW))
        while not child.has_ended(0.4):
            jumps += 1
            clock.write_text(OFFSETS[jumps % len(OFFSETS)] + "\n")
            if attempt < 2 and jumps >= 15 * (attempt + 1):
                child.kill()
    assert child.code(0) == 0, child.err() + child.out()
    assert jumps > 30
    assert outcome(tmp_path) == expected
    run = small_run.folder(tmp_path)
    records = [json.loads(path.read_text()) for path in sorted(run.glob("attempts/*/attempt.json"))]
    days = {line[:10] for path in run.glob("attempts/*/log.txt") for line in path.read_text().splitlines()}
    assert len(days) > 1, "the clock did not jump"
    assert records[-1]["seconds"] > 0
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert all(value >= 0 for line in lines for value in line["timing"].values())
    for result in run.glob("stages/**/result.json"):
        assert json.loads(result.read_text())["seconds"] >= 0
