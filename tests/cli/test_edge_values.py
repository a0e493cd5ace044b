"""Values at their bounds are really trained with, several in one run; `report`, `resume` and a JSON parser read it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from codctl.config.schema import Config
from tests.cli.test_extend import LEARNING
from tests.config.numeric_fields import Numeric, numeric_fields
from tests.config.test_numeric_edges import strict

FIELDS = {field.key: field for field in numeric_fields(Config)}
# Not taken to their bounds here. Work: what only makes a run longer, or larger than this machine. Shape: those of the
# model have runs of their own. Machine: what no run on one CPU reads.
WORK = {
    "model.build.layers", "model.build.max_tokens", "model.build.vocab", "sampling.solve_tokens",
    "sampling.update_tokens", "warm_start.packs", "warm_start.epochs", "train.steps", "train.packs", "train.rollouts",
    "train.optimizer_steps", "train.micro_batch_tokens", "evaluation.packs", "evaluation.every_packs",
    "evaluation.long_length", "health.look.packs", "world.length", "runtime.threads",
}  # fmt: skip
SHAPE = {f"model.build.{name}" for name in ("width", "heads", "kv_heads", "head_dim", "ffn")}
MACHINE = {key for key in FIELDS if key.startswith(("engine.", "cluster."))}


def at(field: Numeric, *, low: bool) -> str:
    number = field.low if low else field.high
    assert number is not None
    return f"{field.key}={field.written(str(number) if field.is_whole else repr(float(number)))}"


def bounds(*, low: bool, but: frozenset[str] = frozenset()) -> list[str]:
    skipped = {*SHAPE, *MACHINE, *but, *(() if low else WORK)}
    return [at(field, low=low) for key, field in FIELDS.items() if key not in skipped]


# Together these would leave nothing to learn from or to play with: each has its place in the other runs.
QUIET = frozenset(
    {"model.lora.rank", "sampling.top_p", "train.steps", "warm_start.packs", "train.rollouts", "model.build.max_tokens"}
)
RUNS = {
    "all low": [*bounds(low=True, but=QUIET), "train.steps=1", "warm_start.packs=8"],
    "all high": [*bounds(low=False, but=frozenset({"model.lora.rank", "runtime.max_batch"})), "train.steps=1"],
    "no step": ["train.steps=0", "warm_start.packs=1", "train.rollouts=1"],
    "shape low": [*(at(FIELDS[key], low=True) for key in sorted(SHAPE)), "train.steps=1"],
    "learning rate high": ["train.lr=1.0", "train.optimizer_steps=2", "train.grad_clip=null", "train.betas=[0,0]"],
    "learning rate low": ["train.lr=1e-9", "train.weight_decay=10", "train.loss.clip=1e-9", "train.betas=[0.999999,0]"],
    "lora": ["model.lora.rank=1", "model.lora.alpha=1e6", "train.grad_clip=1e-6", "train.credit.scale_by_std=true"],
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_with_values_at_their_bounds_can_be_read(cli, home: Path, name: str) -> None:
    (home / "learning.yaml").write_text(LEARNING)
    done = cli("train", "learning.yaml", "--json", *RUNS[name])
    assert done.code == 0, done.err
    assert "Traceback" not in done.err
    run = home / "runs" / "learning"
    assert strict(done.out)["result"]["run"]
    found = [*run.rglob("*.json"), *run.rglob("*.jsonl")]
    assert found
    for path in found:
        for line in [path.read_text()] if path.suffix == ".json" else path.read_text().splitlines():
            strict(line)
    assert json.loads((run / "config.json").read_text())["config"]["name"] == "learning"
    assert cli("report", "learning").code == 0
    assert cli("resume", "learning").code == 0
