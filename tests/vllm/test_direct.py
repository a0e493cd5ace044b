"""Weights that a real vLLM takes from the learner itself: the same log-probs, also after restarts and failures."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from codctl.cod.engine import SendError, Weights
from codctl.config.schema import Config
from codctl.engines.replicas import Replicas
from codctl.learner.group import LearnerGroup, open_group
from codctl.learner.sending import LearnerSender

from .conftest import failures, gap, open_vllm, play, player, recipe, running

pytestmark = pytest.mark.vllm

_ALLOWED = 1e-4  # float32


def direct() -> Config:
    return recipe(lora=False, options={"weights": "direct"})


@pytest.fixture(scope="module", params=["tied", "untied"])
def base(request: Any, models: dict[str, Path]) -> Path:
    return models[request.param]


@pytest.fixture(scope="module")
def engine(loop: asyncio.Runner, base: Path, tmp_path_factory: Any) -> Iterator[Replicas]:
    log = tmp_path_factory.mktemp("direct") / "vllm.log"
    yield from running(loop, open_vllm(direct(), base, engines=(), log=log))


@pytest.fixture(scope="module")
def group(base: Path) -> Iterator[LearnerGroup]:
    with open_group(direct(), base, pad_id=0, device="cpu") as group:
        yield group


def learn(group: LearnerGroup, seed: int, folder: Path) -> Path:
    """Change all weights, and publish them for the comparison."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in group.model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * 0.05 * weight.abs().mean())
    group.publish(folder)
    return folder


def test_weights_come_without_a_file(
    engine: Replicas, base: Path, group: LearnerGroup, loop: asyncio.Runner, tmp_path: Path
) -> None:
    sender = LearnerSender(group)
    for step in (1, 2, 3):
        weights = learn(group, step, tmp_path / f"v{step}")
        loop.run(engine.update_weights(Weights(step, tmp_path / "there is none", sender)))
        trajectories = loop.run(play(player(engine, base, seed=step)))
        assert not failures(trajectories)
        assert {e.weight_version for t in trajectories for e in t.episodes} == {step}
        assert gap(trajectories, weights) < _ALLOWED
    assert engine.stats.restarts == 0


def test_an_engine_that_starts_again_reads_the_folder_and_then_has_a_new_link(
    engine: Replicas, base: Path, group: LearnerGroup, loop: asyncio.Runner, tmp_path: Path
) -> None:
    sender = LearnerSender(group)
    weights = learn(group, 10, tmp_path / "v10")
    loop.run(engine.update_weights(Weights(10, weights, sender)))
    member: Any = engine.members[0]
    before = engine.stats.restarts
    os.killpg(member._backend.pid, signal.SIGKILL)
    learn(group, 11, tmp_path / "v11")  # the learner goes on meanwhile

    async def again() -> Any:
        while engine.stats.restarts == before:
            await asyncio.sleep(0.1)
        return await play(player(engine, base, seed=10))

    assert gap(loop.run(again()), weights) < _ALLOWED
    loop.run(engine.update_weights(Weights(11, tmp_path / "there is none", sender)))
    assert gap(loop.run(play(player(engine, base, seed=11))), tmp_path / "v11") < _ALLOWED
    assert engine.stats.restarts == before + 1


class Broken:
    """A learner that cannot send."""

    def __init__(self) -> None:
        self.asked = 0

    async def send(self, ask: Any, **_: Any) -> None:
        self.asked += 1
        raise SendError("no way to the engine")


def test_what_cannot_be_sent_is_read_from_the_folder(
    engine: Replicas, base: Path, group: LearnerGroup, loop: asyncio.Runner, tmp_path: Path
) -> None:
    broken, weights = Broken(), learn(group, 20, tmp_path / "v20")
    loop.run(engine.update_weights(Weights(20, weights, broken)))
    assert broken.asked == 1
    assert gap(loop.run(play(player(engine, base, seed=20))), weights) < _ALLOWED
