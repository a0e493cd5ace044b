"""The study of experiments/distillation in miniature: it trains, evaluates and continues, and its controls hold."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.golden.record import call

SCRIPT = Path(__file__).parents[2] / "experiments/distillation/run.py"
SMALL = (
    "model.build.layers=1",
    "model.build.width=32",
    "model.build.heads=2",
    "model.build.kv_heads=2",
    "model.build.ffn=32",
    "warm_start.packs=20",
    "warm_start.epochs=1",
    "runtime.threads=1",
    "tracking.mlflow=false",
)
ARMS = ("opd-full", "average", "opd-self")


def test_the_study_in_miniature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("distillation_study", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script: Any = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, script)
    spec.loader.exec_module(script)
    said: list[str] = []

    def codctl(*words: str) -> Any:
        said.append(words[0])
        done = call(*words, "--json")
        assert done.code == 0, done.err
        return json.loads(done.out)["result"]

    monkeypatch.setattr("codctl.runs.code.fix", lambda runs_dir: None)
    monkeypatch.setattr(script, "codctl", codctl)
    monkeypatch.setattr(script, "EVALUATED", ("own",))
    monkeypatch.setattr(script, "SELF_STEPS", 2)
    teachers = ("train.steps=1", "train.packs=2", "train.rollouts=2")
    study = script.Study(tmp_path, packs=2, steps=2, at_once=4, short=SMALL, short_teachers=teachers)
    table = script.table(study, [0], ARMS)
    lines = table.splitlines()
    print(table)
    assert [line.split("|")[1].strip() for line in lines[2:]] == [
        script.ARMS[arm] for arm in ("start", "teacher-frozen_lake", "teacher-alchemy", *ARMS)
    ]
    checks = script.checks(study, [0], ARMS)
    print("\n".join(checks))
    assert "seed 0: its own teacher: largest gradient or reverse KL of 2 steps: 0" in checks
    asked = len(said)
    assert script.table(study, [0], ARMS) == table
    assert len(said) == asked  # nothing is trained or played twice
