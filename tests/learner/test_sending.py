"""Weights that a learner sends to processes of engines: bit for bit what it publishes, and errors within deadlines."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from codctl.cod.engine import EngineError, SendError
from codctl.config.schema import Config
from codctl.engines import link
from codctl.learner.group import LearnerGroup, open_group
from codctl.learner.sending import LearnerSender
from codctl.processes import python_environment
from tests.learner.samples import random_samples
from tests.learner.several import recipe, several

RECEIVER = Path(__file__).with_name("receiver.py")


class Engine:
    """Processes that receive weights."""

    def __init__(self, processes: int, folder: Path) -> None:
        self.folder, self.updates = folder, 0
        self.running = [
            subprocess.Popen(
                [sys.executable, str(RECEIVER), str(rank)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=python_environment(),
            )
            for rank in range(1, processes + 1)
        ]

    async def ask(self, arguments: dict[str, Any]) -> None:
        self.updates += 1
        for rank, process in enumerate(self.running, start=1):
            assert process.stdin is not None
            process.stdin.write(json.dumps({**arguments, "file": str(self.file(rank))}) + "\n")
            process.stdin.flush()
        said = [await asyncio.to_thread(process.stdout.readline) for process in self.running if process.stdout]
        if said != ["done\n"] * len(said):
            raise EngineError("a process of the engine has ended")

    def file(self, rank: int) -> Path:
        return self.folder / f"received-{self.updates}-{rank}.safetensors"

    def end(self) -> None:
        for process in self.running:
            process.kill()
            with contextlib.suppress(BrokenPipeError):
                process.communicate()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = Engine(2, tmp_path)
    yield engine
    engine.end()


def config(dtype: str = "float32", **train: Any) -> Config:
    found = recipe(**train)
    return found.model_copy(update={"model": found.model.model_copy(update={"dtype": dtype})})


def check(engine: Engine, group: LearnerGroup, folder: Path) -> None:
    group.publish(folder)
    published = load_file(folder / "model.safetensors")
    for rank in (1, 2):
        received = load_file(engine.file(rank))
        assert received.keys() == published.keys()
        for name, tensor in published.items():
            assert received[name].dtype == tensor.dtype
            assert torch.equal(received[name], tensor), name


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_engines_get_what_is_published(tiny_folder: Path, engine: Engine, tmp_path: Path, dtype: str) -> None:
    async def send() -> None:
        await sender.send(engine.ask, key="a link", processes=2, on_gpus=False)

    with open_group(config(dtype), tiny_folder, pad_id=0, device="cpu") as group, asyncio.Runner() as runner:
        sender = LearnerSender(group)
        for step in (1, 2):  # the second time over the same link
            group.learn(random_samples(8, seed=step), step)
            runner.run(send())
            check(engine, group, tmp_path / f"v{step}")
        sender.close()


def test_shards_of_several_processes_arrive_whole(tiny_folder: Path, engine: Engine, tmp_path: Path) -> None:
    asked = config(strategy="fsdp")
    with several(asked, tiny_folder) as group:
        group.learn(random_samples(8), 1)
        sender = LearnerSender(group)
        asyncio.run(sender.send(engine.ask, key="a link", processes=2, on_gpus=False))
        sender.close()
        check(engine, group, tmp_path / "v1")


def test_an_engine_that_does_not_come_costs_a_deadline(
    tiny_folder: Path, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(arguments: dict[str, Any]) -> None:
        raise EngineError("no such method")

    async def both(group: LearnerGroup) -> None:
        sender = LearnerSender(group)
        monkeypatch.setattr(link, "_JOIN_S", 1.0)
        with pytest.raises(SendError, match="no such method"):
            await sender.send(refuse, key="one link", processes=2, on_gpus=False)
        monkeypatch.undo()
        await sender.send(engine.ask, key="another", processes=2, on_gpus=False)
        sender.close()

    with open_group(config(), tiny_folder, pad_id=0, device="cpu") as group:
        asyncio.run(both(group))
        check(engine, group, tmp_path / "v1")


def test_an_engine_that_ends_meanwhile_is_said(tiny_folder: Path, engine: Engine, tmp_path: Path) -> None:
    """Its first process is there, the second leaves; then a new link brings the weights to those that came after."""

    async def all_of_it(group: LearnerGroup) -> None:
        sender = LearnerSender(group)
        await sender.send(engine.ask, key="one link", processes=2, on_gpus=False)
        engine.running[1].kill()
        with pytest.raises(SendError):
            await sender.send(engine.ask, key="one link", processes=2, on_gpus=False)
        engine.end()
        later = Engine(2, tmp_path)
        try:
            await sender.send(later.ask, key="another", processes=2, on_gpus=False)
            check(later, group, tmp_path / "v1")
        finally:
            later.end()
            sender.close()

    with open_group(config(), tiny_folder, pad_id=0, device="cpu") as group:
        asyncio.run(all_of_it(group))


class Slow:
    """A learner that takes its time."""

    is_done = False

    def described(self) -> list[link.Described]:
        return []

    def send(self, meeting: link.Meeting, store: Any) -> str:
        time.sleep(0.5)
        self.is_done = True
        return ""


def test_who_is_cancelled_leaves_the_learner_free() -> None:
    slow: Any = Slow()

    async def ask(arguments: dict[str, Any]) -> None:
        await asyncio.sleep(60)

    async def cancelled() -> None:
        task = asyncio.create_task(LearnerSender(slow).send(ask, key="a link", processes=1, on_gpus=False))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert slow.is_done
