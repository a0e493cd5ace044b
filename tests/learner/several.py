"""Learner processes for tests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from codctl.config.schema import Config
from codctl.learner.group import LearnerGroup, open_group
from codctl.learner.rendezvous import Starter

WORKER = Path(__file__).with_name("worker.py")
PATIENCE_S = 120.0

# A small step: where a gradient is almost zero, Adam turns its rounding into a step of up to the learning rate.
TRAIN = {"lr": 1e-5, "optimizer_steps": 2, "micro_batch_tokens": 256}


def recipe(
    *,
    lora: int = 0,
    strategy: str = "auto",
    loss: dict[str, Any] | None = None,
    attention: str = "auto",
    **train: Any,
) -> Config:
    return Config.model_validate(
        {
            "model": {"device": "cpu", "lora": {"rank": lora}, "attention": attention},
            "train": {**TRAIN, "strategy": strategy, "loss": loss or {}, **train},
            "cluster": {"processes_per_node": 2},
        }
    )


class Forked:
    """Workers of a test."""

    def __init__(self, processes: Sequence[subprocess.Popen[bytes]]) -> None:
        self.processes = processes

    def ended(self) -> str:
        codes = [(rank, process.poll()) for rank, process in enumerate(self.processes, 1)]
        return next((f"rank {rank} with exit code {code}" for rank, code in codes if code is not None), "")


def forked(config: Config, size: int, found: list[Forked] | None = None) -> Starter:
    @contextmanager
    def start(port: int) -> Iterator[Forked]:
        command = [sys.executable, str(WORKER), config.model_dump_json(), str(port)]
        processes = [subprocess.Popen([*command, str(rank), str(size)]) for rank in range(1, size)]
        workers = Forked(processes)
        if found is not None:
            found.append(workers)
        try:
            yield workers
            for process in processes:
                process.wait(PATIENCE_S)
        finally:
            for process in processes:
                process.kill()
                process.wait()

    return start


def several(
    config: Config, start: Path, size: int = 2, found: list[Forked] | None = None
) -> AbstractContextManager[LearnerGroup]:
    """A learner in so many processes."""
    return open_group(config, start, pad_id=0, device="cpu", processes=size, starter=forked(config, size, found))
