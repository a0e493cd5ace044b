"""A small training whose process is stopped at an exact place, and what must not depend on that."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from codctl.runs.directory import RunDirectory

STOPPING = Path(__file__).with_name("stopping.py")

RECIPE = """\
name: small
world: {preset: tiny, rendering: compact, length: 3}
model: {build: {layers: 1, width: 32, heads: 2, kv_heads: 2, ffn: 64, rope_theta: 100}}
sampling: {solve_tokens: 8, update_tokens: 12}
warm_start: {packs: 80, batch_rows: 16, lr: 2e-2, checkpoint_s: 0}
train: {steps: 5, packs: 2, rollouts: 3, lr: 1e-3, lr_schedule: linear, checkpoint_every: 2}
evaluation: {every: 2, every_packs: 3, packs: 3, arms: [own, none, shuffled], long_length: 0}
tracking: {mlflow: false, trajectories_every: 1}
runtime: {threads: 1, progress_s: 1}
"""


def codctl(folder: Path, place: str, *overrides: str) -> subprocess.CompletedProcess[str]:
    """The same command each time; `place` says where the process is stopped."""
    folder.mkdir(exist_ok=True)
    recipe = folder / "small.yaml"
    recipe.write_text(RECIPE)
    return subprocess.run(
        [
            sys.executable,
            str(STOPPING),
            place,
            "train",
            str(recipe),
            "--runs-dir",
            str(folder / "runs"),
            "--json",
            *overrides,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )


def outcome(folder: Path, lora: bool = False) -> dict[str, Any]:
    """All of a finished run that must not depend on how it got there."""
    run = folder / "runs" / "small"
    weights = "adapter_model.safetensors" if lora else "model.safetensors"
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {
        "weights": (run / "stages/cod_train/final" / weights).read_bytes(),
        "metrics": sorted(  # beside the learner, a validation is recorded when it happens to end
            ((m["phase"], m["step"], m["metrics"]) for m in metrics), key=lambda record: record[:2]
        ),
        "before": (run / "stages/evaluation/before/rows.parquet").read_bytes(),
        "after": (run / "stages/evaluation/after/rows.parquet").read_bytes(),
        "walkthrough": (run / "stages/evaluation/after/walkthrough.json").read_text(),
        "rollouts": sorted(path.name for path in (run / "stages/cod_train/rollouts").iterdir()),
        "checkpoints": sorted(path.name for path in (run / "stages/cod_train/checkpoints").iterdir()),
    }


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    for name, value in expected.items():
        assert found[name] == value, name


def status(folder: Path) -> str:
    return RunDirectory.open(folder / "runs/small").status()


def finish(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    done = codctl(folder, "nowhere", *overrides)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["result"]["run"]
    return done
