"""What experiments/agents makes of its measurements."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

COST = Path(__file__).parents[2] / "experiments/agents/cost.py"


@pytest.fixture
def cost() -> Iterator[Any]:
    spec = importlib.util.spec_from_file_location("agents_cost", COST)
    assert spec
    assert spec.loader
    module = sys.modules["agents_cost"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["agents_cost"]


def task(success: float, turns: int, wall_s: float) -> dict[str, Any]:
    return {"success": success, "turns": turns, "outcome": "x", "wall_s": wall_s, "peak_mb": 200.0, "model_calls": 4}


def test_an_agent_costs_what_codctls_own_loop_does_not(cost: Any, tmp_path: Path) -> None:
    loop = [cost.Measured("tiny", "", "", "none", seed, 5.0, 1.0, [task(1, 3, 0), task(0, 4, 0)]) for seed in (0, 1)]
    found = cost.Measured("tiny", "hermes", "1.2", "none", 0, 9.0, 1.0, [task(1, 3, 2.5), task(0, 5, 3.5)], [8000], 2)
    other = cost.Measured("another", "", "", "none", 0, 50.0, 1.0, [task(1, 1, 0)])
    lines = cost.table([*loop, found, other], "tiny").splitlines()
    assert lines[2].startswith("| codctl's own loop | 2 of 4 | 14 |")
    cells = [cell.strip() for cell in lines[3].split("|")[1:-1]]
    assert cells == [
        *("hermes 1.2, the world’s tools", "1 of 2", "8", "1 of 2", "2.0", "3.0 (2.5–3.5)"),
        *("200 (200–200)", "4 (4–4)", "2", "8.0"),
    ]


def test_turns_are_taken(cost: Any) -> None:
    assert [(agent, tools, seed) for agent, tools, seed in cost.wanted(["hermes"])][:4] == [
        *(("", "none", 0), ("hermes", "none", 0), ("hermes", "all", 0), ("", "none", 1))
    ]
