"""Learner processes for tests, forked from a server that has imported everything once."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from codctl.config.schema import Config
from codctl.learn.group import LearnerGroup, follow, open_group
from codctl.learn.meeting import Meeting, Starter
from codctl.stages.setup import prepare_process

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["codctl.learn.group", "codctl.stages.setup", "transformers.models.qwen3", "peft"])


# A small step: where a gradient is almost zero, Adam turns its rounding into a step of up to the learning rate.
TRAIN = {"lr": 1e-5, "optimizer_steps": 2, "micro_batch_tokens": 256}


def recipe(*, lora: int = 0, strategy: str = "auto", loss: dict[str, Any] | None = None, **train: Any) -> Config:
    return Config.model_validate(
        {
            "model": {"device": "cpu", "lora": {"rank": lora}},
            "train": {**TRAIN, "strategy": strategy, "loss": loss or {}, **train},
            "cluster": {"processes_per_node": 2},
        }
    )


class Forked:
    """Followers of a test."""

    def __init__(self, processes: Sequence[BaseProcess]) -> None:
        self.processes = processes

    def ended(self) -> str:
        return next((f"{p.name} with exit code {p.exitcode}" for p in self.processes if p.exitcode is not None), "")


def forked(config: Config, size: int, found: list[Forked] | None = None) -> Starter:
    @contextmanager
    def start(port: int) -> Iterator[Forked]:
        processes = [
            _context.Process(target=_follow, args=(config, Meeting("127.0.0.1", port, rank, size)), name=f"rank {rank}")
            for rank in range(1, size)
        ]
        for process in processes:
            process.start()
        followers = Forked(processes)
        if found is not None:
            found.append(followers)
        try:
            yield followers
            for process in processes:
                process.join(120)
        finally:
            for process in processes:
                process.kill()
                process.join()

    return start


def several(
    config: Config, start: Path, size: int = 2, found: list[Forked] | None = None
) -> AbstractContextManager[LearnerGroup]:
    """A learner in so many processes."""
    return open_group(config, start, pad_id=0, device="cpu", processes=size, starter=forked(config, size, found))


def _follow(config: Config, meeting: Meeting) -> None:
    prepare_process(1)
    follow(config, meeting, "cpu")
