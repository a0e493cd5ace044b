"""A part of `make bench-gpu`: the recipe smollm2-135m for a few steps in `terse` and in `full`, beside its plan."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from machine import ROOT

GIB = 1 << 30
HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
_POLL_S = 0.5
# Enough for a profile; on a GPU in the type and with the batches that one would choose there.
_FEW = [
    "warm_start.packs=48", "train.steps=3", "evaluation.every=0", "evaluation.packs=16", "evaluation.arms=[own,none]",
    "tracking.mlflow=false",
]  # fmt: skip
_ON_GPU = ["model.dtype=bfloat16", "runtime.max_batch=256", "train.micro_batch_tokens=16384"]


def pretrained(setting: dict[str, Any]) -> dict[str, Any]:
    """Step time, speed and peak memory of each rendering, and what the plan says of them.

    Without a folder it is the same model with random weights, whose replies do not end before their budget.
    """
    return {"renderings": [_one(setting, rendering) for rendering in setting["renderings"]]}


def _one(setting: dict[str, Any], rendering: str) -> dict[str, Any]:
    longer = ["sampling.solve_tokens=64", "sampling.update_tokens=160"] if rendering == "full" else []
    on_device = _ON_GPU if setting["device"] == "cuda" else []
    model = [f"model.path={setting['folder']}"] if setting["folder"] else [f"model.path={HUB_ID}", "model.init=random"]
    recipe = [
        str(ROOT / "recipes/smollm2-135m.yaml"), *model, f"model.device={setting['device']}",
        f"model.attention={setting['attention']}", f"world.rendering={rendering}",
    ]  # fmt: skip
    changes = [*_FEW, *longer, *on_device, *setting["pretrained"]]
    recipe += {text.partition("=")[0]: text for text in changes}.values()  # the last of a key holds
    plan = json.loads(_codctl("train", *recipe, "--dry-run", "--json"))["result"]["plan"]
    with tempfile.TemporaryDirectory() as folder, _Watch(setting["device"]) as watch:
        began = time.monotonic()
        done = json.loads(_codctl("train", *recipe, "--json", "--name", "bench", "--runs-dir", folder))["result"]
        seconds = time.monotonic() - began
        metrics = _records(Path(folder) / "bench/metrics.jsonl")
        warm = json.loads((Path(folder) / "bench/stages/warm_start/result.json").read_text())
    steps = [record for record in metrics if "seconds/step" in record]
    mean = {name: _mean(steps, f"seconds/{name}") for name in ("rollout", "learn", "step")}
    rate = _mean(steps, "tokens_per_second/rollout")
    terms = {term["name"]: term["seconds"] for term in plan["step"]["terms"]}
    return {
        "rendering": rendering,
        "seconds": seconds,
        "step": [
            ["sampling, s a step", mean["rollout"], terms["generate"]],
            ["learning, s a step", mean["learn"], terms["learn"]],
            ["a step, s", mean["step"], plan["step"]["step"]],
            ["tokens played a step", rate * mean["rollout"], plan["tokens"]["expected"]],
            ["tokens played/s", rate, plan["tokens"]["expected"] / terms["generate"]],
            ["warm start, tokens", warm["tokens"], plan["warm_start"]["tokens"]],
            ["warm start, s", warm["seconds"], plan["step"]["warm_start"]],
            ["peak memory, GiB", watch.peak / GIB, max(device["need"] for device in plan["devices"]) / GIB],
        ],
        "success_by_position": done["metrics"]["after"]["own"],
    }


def _codctl(*arguments: str) -> str:
    command = [sys.executable, "-m", "codctl.cli.main", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError((done.stdout + done.stderr)[-2000:])
    return done.stdout


def _records(path: Path) -> list[dict[str, float]]:
    """The times of each step, by their names."""
    found: dict[int, dict[str, float]] = {}
    for line in path.read_text().splitlines():
        record = json.loads(line)
        if "seconds/step" in record.get("timing", {}):
            found[record["step"]] = record["timing"]
    return list(found.values())


def _mean(records: list[dict[str, float]], name: str) -> float:
    """Without the first step, in which kernels are chosen, where there are others."""
    values = [record[name] for record in records]
    values = values[1:] or values
    return sum(values) / len(values)


class _Watch:
    """Most memory that was in use meanwhile: of the GPU, or of the largest child process."""

    def __init__(self, device: str) -> None:
        self._device, self.peak = device, 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)

    def __enter__(self) -> _Watch:
        if self._device == "cuda":
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        if self._device != "cuda":
            self.peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024

    def _poll(self) -> None:
        command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
        while not self._ended.wait(_POLL_S):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            used = [int(line) for line in done.stdout.split() if line.isdigit()]
            self.peak = max([self.peak, *(mib << 20 for mib in used)])
