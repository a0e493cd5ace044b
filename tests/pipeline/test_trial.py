"""Suites of a trial, played on the model that its training left."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from codctl.config.schema import Config
from codctl.errors import StageError
from codctl.evaluate.subject import subject_of_run
from codctl.files.seal import sealing
from codctl.pipeline.trial import play_suites, write_trial
from codctl.runs.directory import RunDirectory

CURVE = {"name": "curve", "suite": "position-curve", "overrides": ["packs=2", "arms=[own]"]}
CONFIG = Config.model_validate(
    {
        "name": "micro",
        "world": {"preset": "tiny", "rendering": "compact", "length": 2},
        "sampling": {"solve_tokens": 8, "update_tokens": 12},
    }
)


class Silent:
    """Nobody watches."""

    def update(self, phase: str, done: int, total: int, metrics: Mapping[str, float]) -> None: ...

    def message(self, text: str) -> None: ...


@pytest.fixture
def run(tiny_folder: Path, tmp_path: Path) -> RunDirectory:
    """A run whose training has left a model."""
    run = RunDirectory.create_or_continue(tmp_path / "runs", CONFIG, recipe="micro", command=["codctl"])
    with sealing(run.stage("cod_train") / "final") as temp:
        shutil.copytree(tiny_folder, temp, dirs_exist_ok=True)
    return run


def digest_of(run: RunDirectory) -> str:
    return str(json.loads((run.path / "suites/curve/result.json").read_text())["digest"])


def test_a_run_that_is_no_trial_plays_nothing(run: RunDirectory) -> None:
    play_suites(run, run.config(), Silent())
    assert not (run.path / "suites").exists()


def test_a_finished_suite_is_not_played_again_and_one_of_other_rules_is(run: RunDirectory) -> None:
    write_trial(run.path, {}, [CURVE])
    play_suites(run, run.config(), Silent())
    result = run.path / "suites/curve/result.json"
    first, written = digest_of(run), result.stat().st_mtime_ns
    play_suites(run, run.config(), Silent())
    assert result.stat().st_mtime_ns == written
    # A launcher that did not move the old result aside: the digest tells.
    (run.path / "trial.json").write_text(
        json.dumps({"schema": 1, "labels": {}, "suites": [{**CURVE, "overrides": ["packs=3", "arms=[own]"]}]})
    )
    play_suites(run, run.config(), Silent())
    assert digest_of(run) != first
    assert (run.path / "suites/curve.old-1/result.json").is_file()


def test_a_run_that_trains_nothing_has_the_model_that_it_was_given(run: RunDirectory, tiny_folder: Path) -> None:
    shutil.rmtree(run.path / "stages")
    with pytest.raises(StageError, match="has saved no model yet"):
        subject_of_run(run)
    frozen = json.loads((run.path / "config.json").read_text())
    for section in ("train", "warm_start"):
        frozen["config"][section]["enabled"] = False
    frozen["config"]["model"]["path"] = str(tiny_folder)
    (run.path / "config.json").write_text(json.dumps(frozen))
    assert subject_of_run(run).folder == tiny_folder
