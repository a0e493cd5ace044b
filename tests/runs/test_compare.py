"""Two runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from codctl.config.schema import Config
from codctl.files.atomic import write_json
from codctl.runs.compare import compare
from codctl.runs.directory import RunDirectory


def make(tmp_path: Path, name: str, **fields: Any) -> RunDirectory:
    config = Config.model_validate({"name": name, **fields})
    return RunDirectory.create_or_continue(tmp_path, config, recipe="tiny", command=["codctl"])


def curve(*means: float) -> list[dict[str, float]]:
    return [{"position": i, "mean": mean, "low": mean - 0.1, "high": mean + 0.1} for i, mean in enumerate(means)]


def store(path: Path, result: dict[str, Any]) -> None:
    path.mkdir(parents=True)
    write_json(path / "result.json", result)


def test_what_differs_with_its_class_and_what_came_of_it(tmp_path: Path) -> None:
    a = make(tmp_path, "a", seed=1, train={"lr": 1e-3})
    b = make(tmp_path, "b", seed=1, train={"lr": 2e-3}, runtime={"threads": 1})
    store(a.stage("evaluation") / "after", {"arms": {"own": {"success": curve(0.5, 0.75)}}})
    store(a.stage("evaluation") / "before", {"arms": {"own": {"success": curve(0.25)}}})
    store(b.stage("evaluation") / "after", {"arms": {"own": {"success": curve(0.5)}, "none": {"success": curve(0.0)}}})
    parts = [{"name": "easy", "arms": {"own": {"success": curve(1.0)}}}, {"name": "hard", "arms": {}}]
    store(b.path / "suites" / "s", {"parts": parts})
    found = compare([a, b])
    assert [(entry["key"], entry["class"], entry["values"]) for entry in found["config"]] == [
        ("train.lr", "training", [1e-3, 2e-3]),
        ("runtime.threads", "resource", [2, 1]),
        ("name", "cosmetic", ["a", "b"]),
    ]
    rows = [(entry["evaluation"], entry["arm"], *map(bool, entry["curves"])) for entry in found["success"]]
    assert rows == [
        ("before", "own", True, False),
        ("after", "own", True, True),
        ("after", "none", False, True),
        ("s/easy", "own", False, True),
    ]
    assert [run["status"] for run in found["runs"]] == ["planned", "planned"]


def test_a_key_that_is_younger_than_a_run_was_at_its_default(tmp_path: Path) -> None:
    a, b = make(tmp_path, "same"), make(tmp_path, "other")
    import json

    frozen = json.loads((a.path / "config.json").read_text())
    del frozen["config"]["cluster"]["nodes"]
    write_json(a.path / "config.json", frozen)
    assert [entry["key"] for entry in compare([a, b])["config"]] == ["name"]
