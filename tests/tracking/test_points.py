"""Which numbers trackers get."""

from __future__ import annotations

import json
from pathlib import Path

from codctl.tracking.jsonl import MetricsLog
from codctl.tracking.points import PointsReader
from codctl.tracking.sink import Point


def _log(path: Path, steps: range, offset: float = 0.0) -> MetricsLog:
    log = MetricsLog(path / "metrics.jsonl")
    for step in steps:
        log.append(step, "train", {"loss": step + offset, "bad": float("inf")}, {"seconds/step": 0.5})
    return log


def _values(points: list[Point], key: str = "train/loss") -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in points if point.key == key]


def _all(path: Path, created_ms: int = 0) -> list[Point]:
    reader = PointsReader(path, created_ms)
    try:
        return reader.new()
    finally:
        reader.close()


def test_only_what_is_new(tmp_path: Path) -> None:
    reader = PointsReader(tmp_path / "metrics.jsonl")
    assert reader.new() == []
    _log(tmp_path, range(1, 3))
    found = reader.new()
    assert _values(found) == [(1, 1.0), (2, 2.0)]
    assert {point.key for point in found} == {"train/loss", "train/seconds/step"}
    assert reader.new() == []
    _log(tmp_path, range(3, 4))
    assert _values(reader.new()) == [(3, 3.0)]
    reader.close()


def test_a_line_on_its_way_is_read_when_it_is_whole(tmp_path: Path) -> None:
    path = _log(tmp_path, range(1, 3)).path
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    reader = PointsReader(path)
    assert _values(reader.new()) == [(1, 1.0)]
    with path.open("ab") as file:
        file.write(whole[-9:])
    assert _values(reader.new()) == [(2, 2.0)]
    reader.close()


def test_after_a_rewind_all_is_read_again(tmp_path: Path) -> None:
    log = _log(tmp_path, range(1, 5))
    reader = PointsReader(log.path)
    reader.new()
    log.rewind("train", 2)
    log.rewind("validation", -1)  # two files have come and gone: the inode may be the first one's again
    _log(tmp_path, range(3, 4), offset=0.5)
    assert _values(reader.new()) == [(1, 1.0), (2, 2.0), (3, 3.5)]
    reader.close()


def test_long_runs_are_thinned_out_and_end_with_their_newest_numbers(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [{"step": step, "phase": "train", "metrics": {"loss": step}, "timing": {}} for step in range(1, 2002)]
    looks = [{**line, "phase": "validation"} for line in lines[49:550:50]]
    path.write_text("".join(json.dumps(line) + "\n" for line in [*lines, *looks]))
    reader = PointsReader(path)
    found = reader.new()
    steps = [step for step, _ in _values(found)]
    assert steps[:100] == list(range(1, 101))
    assert steps[100:150] == list(range(102, 201, 2))
    assert steps[-3:] == [1920, 1952, 1984]
    assert len(steps) == 312
    assert [step for step, _ in _values(found, "validation/loss")] == list(range(50, 551, 50))
    assert _values(reader.newest()) == [(2001, 2001.0)]
    reader.close()
    assert _all(path) == found
