"""The folder that hostile ones are made from: runs, a sweep and an evaluation, each made by codctl itself.

`micro` is a finished run, `half` one that was sent to SLURM and stopped at its first step, `other` one that no command
changes, `sw` a sweep. What tells a copy from its original is removed, as a sender would do it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

RECIPE_FILE = "micro.yaml"
SWEEP, TRIAL, EVALUATED = "sw", "micro", "position-curve"
BYSTANDER = "other"
JOB = "4711"  # the queue knows it as somebody else's
_LINKED = (".parquet", ".safetensors", ".py", ".jinja")  # never written in place


def make(home: Path) -> None:
    """Train, sweep and evaluate in `home`."""
    from tests.cli.conftest import MICRO

    (home / RECIPE_FILE).write_text(MICRO.replace("mlflow: false", "mlflow: true"))
    _codctl(home, "train", RECIPE_FILE)
    _codctl(home, "sweep", RECIPE_FILE, "seed=0", "--name", SWEEP)
    for packs in ("2", "3"):
        _codctl(home, "eval", "--run", "micro", "--suite", EVALUATED, "--limit", packs)
    runs = home / "runs"
    shutil.copytree(runs / "micro", runs / BYSTANDER)
    _stop_half_way(runs / "micro", runs / "half")
    for name in ("dispatch.json", "mlflow.json"):
        for file in runs.rglob(name):
            _edit(file, lambda content: content.pop("place", None))


def copy(base: Path, to: Path) -> None:
    """A home of its own for one hostile folder."""
    shutil.copytree(base, to, copy_function=lambda source, target: _copy_file(Path(source), target), symlinks=True)


def evaluations(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "runs" / "evaluations").iterdir())


def _codctl(home: Path, *words: str) -> None:
    command = [sys.executable, "-m", "codctl.cli.main", *words]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def _stop_half_way(finished: Path, half: Path) -> None:
    from codctl.runs import code
    from codctl.runs.directory import RunDirectory

    shutil.copytree(finished, half)
    train = half / "stages" / "cod_train"
    for path in (train / "final", train / "checkpoints" / "step-000002", half / "stages" / "evaluation" / "after"):
        shutil.rmtree(path)
    _edit(half / "manifest.json", lambda content: content.update(name="half"))
    _edit(half / "attempts" / "001" / "attempt.json", lambda content: content.update(outcome="interrupted"))
    snapshot = code.snapshot(finished.parent).digest  # as the sweep has left it
    run = RunDirectory(half)
    run.write_dispatch({"where": "slurm", "jobs": [JOB], "code": snapshot})
    run.request_stop("pause")


def _edit(path: Path, change: Any) -> None:
    content = json.loads(path.read_text())
    if isinstance(content, dict):
        change(content)
        path.write_text(json.dumps(content, indent=2))


def _copy_file(source: Path, target: str) -> None:
    if source.suffix in _LINKED or "mlflow-artifacts" in source.parts:
        os.link(source, target)
    else:
        shutil.copy2(source, target)
