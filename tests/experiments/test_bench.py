"""What experiments/bench counts and compares."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

BENCH = Path(__file__).parents[2] / "experiments/bench"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a module of the bench, and forgets it afterwards."""
    monkeypatch.syspath_prepend(str(BENCH))
    before = set(sys.modules)

    def load(name: str) -> Any:
        return __import__(name)

    yield load
    for name in set(sys.modules) - before:
        if str(BENCH) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def trajectory(*masks: list[int]) -> Any:
    return SimpleNamespace(episodes=[SimpleNamespace(loss_mask=mask) for mask in masks])


def test_the_fewest_passes_are_those_of_the_longest_trajectory(bench: Any) -> None:
    long = trajectory([0, 0, 0, 1, 1], [0, 0, 1])  # prompt of 3 and its reply, then a new conversation
    short = trajectory([0, 1, 0, 0, 1])  # the second turn reads the first reply and two tokens of the world
    assert bench("bounds").least_passes([long, short]) == [(3 + 1, 2), (1 + 3, 2), (2, 1)]


def test_a_bound_grows_with_the_rows_and_learning_costs_more(bench: Any) -> None:
    model = torch.nn.ModuleDict({"layer": torch.nn.Linear(64, 96), "head": torch.nn.Linear(64, 512)})
    model.get_output_embeddings = lambda: model["head"]  # type: ignore[assignment]
    products = bench("bounds").Products.of(model)
    assert products.layers == {(64, 96): 1}
    assert products.head == (64, 512)
    assert products.seconds(4000, 0) > products.seconds(40, 0) > 0
    assert products.seconds(4000, 10, learns=True) > products.seconds(4000, 10)


class Answering:
    """A side whose answers are known."""

    def __init__(self, seconds: float, digest: str) -> None:
        self.answer = {"seconds": seconds, "digest": digest, "counts": {"forwards": 10}}
        self.asked: list[str] = []

    def ask(self, line: str) -> dict[str, Any]:
        self.asked.append(line)
        return self.answer


def test_two_sides_take_turns_and_other_tokens_are_seen(bench: Any) -> None:
    compare = bench("compare")
    a, b = Answering(3.0, "x"), Answering(1.5, "x")
    found = compare.compare([a, b], "rollouts-16", compare.lines("lock-step-16:rollouts-16", ()), 2)
    assert (a.asked, b.asked) == (["lock-step-16"] * 3, ["rollouts-16"] * 3)  # a round warms up
    assert found["times_as_fast"] == [2.0, 2.0]
    assert found["same"]
    other = compare.compare([a, Answering(1.5, "y")], "rollouts-16", ("rollouts-16",) * 2, 1)
    assert "OTHER" in compare.rows_of(other)[0]


def test_a_workload_that_a_commit_lacks_is_said(bench: Any) -> None:
    compare, broken = bench("compare"), Answering(1.0, "")
    broken.answer = {"failed": "no such function"}
    found = compare.compare([Answering(1.0, ""), broken], "warm-start", ("warm-start",) * 2, 1)
    assert found["failed"] == "side B: no such function"


def test_what_is_kept_is_shown_by_commit(bench: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    results = bench("results")
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    assert results.table() == "nothing is kept yet"
    for commit, seconds in (("aaa", 4.0), ("bbb", 2.0)):
        own = [{"name": "warm-start", "seconds": [seconds] * 3, "bound_s": 1.0}]
        record = {"commit": commit, "date": f"2026-01-0{len(commit)}", "machine": "CPU, 2 cores, load 1", "own": own}
        (tmp_path / f"{commit}.json").write_text(json.dumps(record))
    assert "| aaa | 2026-01-03 | CPU, 2 cores | 4.0 |" in results.table()
    assert "| bbb | 2026-01-03 | CPU, 2 cores | 2.0 |" in results.table()
