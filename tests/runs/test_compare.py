"""Two runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from codctl.config.schema import Config
from codctl.files.atomic import write_json
from codctl.runs.compare import compare
from codctl.runs.directory import RunDirectory
from tests.results import made


def make(tmp_path: Path, name: str, **fields: Any) -> RunDirectory:
    config = Config.model_validate({"name": name, **fields})
    return RunDirectory.create_or_continue(tmp_path, config, recipe="tiny", command=["codctl"])


def store(path: Path, *arms: dict[str, tuple[float, ...]]) -> None:
    """A result with a part for each of these: arm → success."""
    parts = [
        {"name": name, "arms": {arm: {"success": made.curve(*means)} for arm, means in one.items()}}
        for name, one in zip(("easy", "hard"), arms, strict=False)
    ]
    path.mkdir(parents=True)
    write_json(path / "result.json", made.result_json(*parts))


def test_what_differs_with_its_class_and_what_came_of_it(tmp_path: Path) -> None:
    a = make(tmp_path, "a", seed=1, train={"lr": 1e-3})
    b = make(tmp_path, "b", seed=1, train={"lr": 2e-3}, runtime={"threads": 1})
    store(a.stage("evaluation") / "after", {"own": (0.5, 0.75)})
    store(a.stage("evaluation") / "before", {"own": (0.25,)})
    store(b.stage("evaluation") / "after", {"own": (0.5,), "none": (0.0,)})
    store(b.path / "suites" / "s", {"own": (1.0,)}, {})
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
