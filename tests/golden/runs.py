"""Short trainings whose numbers are frozen, one for each way through the engines and learners that runs on a CPU."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from codctl.cod.references import CEILINGS
from tests.golden.normal import digest

RECIPE = Path(__file__).parents[1] / "durability" / "small.yaml"
SHORT = (
    "warm_start.epochs=2", "train.rollouts=4", "train.steps=2", "train.checkpoint_every=1", "tracking.mlflow=false",
    "evaluation.every=1", "evaluation.every_packs=1", "evaluation.arms=[own,none]",
)  # fmt: skip
RUNS: dict[str, tuple[str, ...]] = {
    "small": (),
    "overlap": ("engine.overlap=true",),
    "lora": ("model.lora.rank=2",),
    "grpo": ("train.loss.kind=grpo", "train.loss.red=false"),
    "two": ("cluster.processes_per_node=2",),
}
# Columns of an evaluation's rows that say how it went, whatever the file is called.
COLUMNS = (
    "arm",
    "seed",
    "number",
    "position",
    "success",
    "shaped_reward",
    "turns",
    "outcome",
    "update_outcome",
    "replies",
)

LEARNER = ("train: loss", "train: grad_norm", "train: entropy", "train: staleness/mean", "warm_start: loss")


def command(name: str) -> list[str]:
    return ["train", "small.yaml", "--name", name, *SHORT, *RUNS[name], "--json"]


def prepare(home: Path) -> None:
    shutil.copy(RECIPE, home / "small.yaml")


def fingerprint() -> dict[str, str]:
    """What the bits of floats depend on beside the code."""
    import numpy
    import torch

    from codctl.runs import machine

    return {
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "cpu": machine.describe()["cpu"],
    }


def outcome(run: Path, *, all_metrics: bool) -> dict[str, Any]:
    """All of a run that depends on the bits of floats."""
    stages = run / "stages"
    found = metrics(run)
    of_the_learner = {name: values for name, values in found.items() if name in LEARNER}
    return {
        "weights": {
            name: weights(stages / path)
            for name, path in {"warm start": "warm_start/model", "final": "cod_train/final"}.items()
        },
        "metrics": found if all_metrics else {**of_the_learner, "all": digest(found)},
        "rows": {path.name: digest(rows(path)) for path in sorted((stages / "evaluation").iterdir())},
    }


def structure(run: Path) -> dict[str, Any]:
    """What is the same on every CPU."""
    evaluations = sorted((run / "stages" / "evaluation").iterdir())
    return {
        "metrics": {name: len(metrics(run)[name]) for name in LEARNER},  # others come and go with what happens
        "rows": {path.name: len(rows(path)) for path in evaluations},
        "files": sorted({str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}),
    }


def weights(folder: Path) -> str:
    """A hash of the tensors in a folder, by name, type and bytes."""
    from safetensors.torch import load_file

    tensors = {
        name: tensor for path in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(path).items()
    }
    assert tensors, folder
    return digest({name: [str(t.dtype), digest(t.numpy().tobytes())] for name, t in tensors.items()})


def metrics(run: Path) -> dict[str, list[float | None]]:
    """The values of each metric over the steps of its phase."""
    found: dict[str, list[float | None]] = {}
    for record in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()):
        for name, value in record["metrics"].items():
            found.setdefault(f"{record['phase']}: {name}", []).append(value)
    return found


def rows(folder: Path) -> list[list[Any]]:
    """The rows of one evaluation within a run, without those of the reference policies."""
    import pyarrow.parquet as pq

    lines = pq.read_table(folder / "rows.parquet").to_pylist()
    return [[row[name] for name in COLUMNS] for row in lines if row["arm"] not in CEILINGS]
