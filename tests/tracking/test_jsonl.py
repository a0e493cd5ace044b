"""metrics.jsonl survives crashes, rewinds exactly, and stays strict JSON."""

from __future__ import annotations

import errno
import json
import os
import time
from pathlib import Path

import pytest

from codctl.errors import StageError
from codctl.tracking.jsonl import MetricsLog, read


def _filled(path: Path, steps: int) -> MetricsLog:
    metrics = MetricsLog(path)
    for step in range(1, steps + 1):
        metrics.append(step, "train", {"loss": 1 / step}, {"seconds/step": 0.1})
        if step % 2 == 0:
            metrics.append(step, "validation", {"success/position_0": 0.5})
    return metrics


def test_append_and_read(tmp_path: Path) -> None:
    before_ms = time.time() * 1000
    found = _filled(tmp_path / "metrics.jsonl", 2).read()
    assert all(before_ms - 1 <= record.pop("at_ms") <= time.time() * 1000 for record in found)
    assert found == [
        {"step": 1, "phase": "train", "metrics": {"loss": 1.0}, "timing": {"seconds/step": 0.1}},
        {"step": 2, "phase": "train", "metrics": {"loss": 0.5}, "timing": {"seconds/step": 0.1}},
        {"step": 2, "phase": "validation", "metrics": {"success/position_0": 0.5}, "timing": {}},
    ]
    assert read(tmp_path / "none.jsonl") == []


def test_not_finite_becomes_null(tmp_path: Path) -> None:
    metrics = MetricsLog(tmp_path / "m.jsonl")
    metrics.append(1, "train", {"loss": float("nan"), "lr": float("inf")})
    assert metrics.read()[0]["metrics"] == {"loss": None, "lr": None}


def test_rewind_drops_only_later_steps_of_its_phase(tmp_path: Path) -> None:
    metrics = _filled(tmp_path / "m.jsonl", 4)
    metrics.rewind("train", 2)
    assert [(r["phase"], r["step"]) for r in metrics.read()] == [
        ("train", 1),
        ("train", 2),
        ("validation", 2),
        ("validation", 4),
    ]
    MetricsLog(tmp_path / "none.jsonl").rewind("train", 0)
    assert not (tmp_path / "none.jsonl").exists()


def test_rewind_and_repeat_gives_the_same_but_for_the_time(tmp_path: Path) -> None:
    whole = _without_time(_filled(tmp_path / "whole.jsonl", 3))
    metrics = _filled(tmp_path / "resumed.jsonl", 3)
    metrics.rewind("train", 2)
    metrics.append(3, "train", {"loss": 1 / 3}, {"seconds/step": 0.1})
    assert _without_time(metrics) == whole


def _without_time(metrics: MetricsLog) -> list[dict[str, object]]:
    return [{key: value for key, value in record.items() if key != "at_ms"} for record in metrics.read()]


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_torn_last_line_costs_only_itself(tmp_path: Path, cut: int) -> None:
    metrics = _filled(tmp_path / "m.jsonl", 3)
    whole = metrics.path.read_bytes()
    metrics.path.write_bytes(whole[:-cut])
    before = metrics.read()
    metrics.append(9, "train", {"loss": 0.0})
    assert [r["step"] for r in metrics.read()] == [*[r["step"] for r in before], 9]
    metrics.rewind("train", 9)
    for line in metrics.path.read_text().splitlines():
        json.loads(line)


def test_foreign_lines_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'17\n{"step": "x"}\n\xff\xfe\n{"step": 1, "phase": "train", "metrics": {}, "timing": {}}\n')
    assert [r["step"] for r in read(path)] == [1]


def test_disk_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    metrics = _filled(tmp_path / "m.jsonl", 1)
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StageError, match="the disk is full"):
        metrics.append(2, "train", {"loss": 1.0})
