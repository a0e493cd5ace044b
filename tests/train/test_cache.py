"""A warm start is made once for all runs that agree up to it, and with the same result."""

from __future__ import annotations

import json
from pathlib import Path

from codctl.config.compose import load_config
from codctl.config.schema import Config
from codctl.models.start import build_model
from codctl.runs.directory import RunDirectory
from codctl.tracking.tracker import Tracker
from codctl.train.setup import prepare_process
from codctl.train.warm_start import warm_start

RECIPE = """\
world: {preset: tiny, rendering: compact, length: 2}
model: {build: {layers: 1, width: 16, heads: 2, kv_heads: 2, ffn: 32}}
warm_start: {packs: 60, batch_rows: 8}
tracking: {mlflow: false}
runtime: {threads: 1}
"""


class Told:
    def __init__(self) -> None:
        self.messages: list[str] = []

    def update(self, *_: object) -> None: ...

    def message(self, text: str) -> None:
        self.messages.append(text)

    @property
    def was_shared(self) -> bool:
        return any("of another run" in text for text in self.messages)


def warmed(tmp_path: Path, name: str, *overrides: str) -> tuple[RunDirectory, Told]:
    recipe = tmp_path / "small.yaml"
    recipe.write_text(RECIPE)
    config: Config = load_config(str(recipe), [*overrides, f"name={name}"])
    run = RunDirectory.create_or_continue(tmp_path / "runs", config, recipe="small", command=["codctl"])
    told = Told()
    prepare_process(config.runtime.threads)
    with run.start_attempt():
        warm_start(run, config, build_model(run, config, told), Tracker(run, config), told)
    return run, told


def result(run: RunDirectory) -> tuple[bytes, list[object]]:
    records = map(json.loads, run.metrics_path.read_text().splitlines())
    weights = (run.stage("warm_start") / "model" / "model.safetensors").read_bytes()
    return weights, [(record["phase"], record["step"], record["metrics"]) for record in records]


def test_it_is_shared_by_runs_that_differ_later_and_by_no_others(tmp_path: Path) -> None:
    first, told = warmed(tmp_path, "first")
    assert not told.was_shared
    same, told = warmed(tmp_path, "same", "train.lr=0.5", "evaluation.packs=7")
    assert told.was_shared
    assert result(same) == result(first)
    _, told = warmed(tmp_path, "other", "seed=1")
    assert not told.was_shared
    _, told = warmed(tmp_path, "shaped", "train.reward.turn_penalty=0.5")
    assert not told.was_shared


def test_a_damaged_one_is_made_again(tmp_path: Path) -> None:
    first, _ = warmed(tmp_path, "first")
    before = result(first)
    [shared] = (tmp_path / "runs" / ".stages").iterdir()
    weights = shared / "model" / "model.safetensors"
    weights.write_bytes(b"\0" * weights.stat().st_size)
    second, told = warmed(tmp_path, "second")
    assert not told.was_shared
    assert result(second) == before
    third, told = warmed(tmp_path, "third")  # what was damaged has been replaced
    assert told.was_shared
    assert result(third) == before
