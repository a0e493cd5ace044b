"""Engines that die, hang or cannot come back, played by a backend without a model."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codctl.cod.engine import ALL, EngineError, Generation, LostError, RequestTag, Sampling, Scores, Weights
from codctl.cod.trajectory import TokenRecord
from codctl.engines.replicas import Replicas
from codctl.engines.vllm.backend import Ask, Loaded, Rating, Reply
from codctl.engines.vllm.engine import VllmEngine
from codctl.engines.vllm.settings import EngineSettings
from codctl.errors import BackendError

SETTINGS = EngineSettings(
    model=Path("/base"),
    adapter=None,
    is_lora=False,
    options={"dtype": "float32", "max_num_seqs": 256},
    environment={},
    sleeps=False,
    start_s=5.0,
    deadline_s=0.2,
    restarts=2,
)


class Fake:
    """A replica that answers with its own name, until it is told to die or to hang."""

    def __init__(self, name: str = "fake") -> None:
        self.name, self.max_tokens = name, 64
        self.starts = self.stops = 0
        self.loaded: list[Loaded] = []
        self.asked: list[Ask] = []
        self.hangs = self.cannot_start = self.is_deadly = False
        self.death = asyncio.Event()

    async def start(self) -> None:
        if self.cannot_start:
            raise BackendError("no memory left")
        self.starts += 1
        self.hangs, self.death = False, asyncio.Event()

    async def ask(self, ask: Ask) -> Reply:
        self.asked.append(ask)
        if self.is_deadly:
            self.death.set()
        if self.hangs or self.is_deadly:
            await asyncio.Event().wait()
        await asyncio.sleep(0.01)
        return Reply([7], [-0.5], "stop", 3)

    async def score(self, rating: Rating) -> Scores:
        if self.is_deadly:
            self.death.set()
            await asyncio.Event().wait()
        return Scores(np.array([-float(place) for place in rating.places], np.float32))

    async def load(self, loaded: Loaded) -> None:
        if self.death.is_set():
            raise LostError("gone")
        self.loaded.append(loaded)

    async def is_well(self) -> bool:
        return not self.death.is_set()

    async def ended(self) -> str:
        await self.death.wait()
        return "ended with SIGKILL"

    async def sleep(self) -> None: ...

    async def wake(self) -> None: ...

    async def stop(self, *, gently: bool = True) -> None:
        self.stops += 1


def tag_of(pack: str) -> RequestTag:
    return RequestTag(pack, 0, 0, 0, "solve")


async def ask(engine: Replicas, pack: str = "p", deadline_s: float = 5.0) -> Generation:
    tag = tag_of(pack)
    async with asyncio.timeout(deadline_s):
        return await engine.generate([1, 2, 3], Sampling(8), seed=1, tag=tag)


def with_engine(scenario: Any, *, replicas: int = 1, **changes: Any) -> None:
    async def main() -> None:
        fakes = [Fake(f"fake {i}") for i in range(replicas)]
        settings = dataclasses.replace(SETTINGS, **changes)
        engine = Replicas([VllmEngine(fake, settings) for fake in fakes])
        await engine.start()
        try:
            await scenario(engine, *fakes)
        finally:
            await engine.aclose()
        assert all(fake.stops for fake in fakes)

    asyncio.run(asyncio.wait_for(main(), 120))


async def failure(request: Coroutine[Any, Any, Generation]) -> str:
    with pytest.raises(EngineError) as caught:
        await request
    return str(caught.value)


def test_what_a_death_loses_is_asked_again_when_it_is_back() -> None:
    async def scenario(engine: Replicas, fake: Fake) -> None:
        await engine.update_weights(Weights(3, Path("/published/3")))
        fake.hangs = True
        open_request = asyncio.create_task(ask(engine))
        await asyncio.sleep(0.02)
        fake.death.set()
        assert (await open_request).weight_version == 3
        assert fake.asked[0] == fake.asked[1]
        assert (fake.starts, engine.stats.restarts) == (2, 1)
        assert [(one.version, one.folder) for one in fake.loaded] == [(3, Path("/published/3"))] * 2

    with_engine(scenario)


def test_what_a_death_loses_another_is_asked_at_once() -> None:
    async def scenario(engine: Replicas, first: Fake, second: Fake) -> None:
        first.hangs = first.cannot_start = True
        open_request = asyncio.create_task(ask(engine))
        await asyncio.sleep(0.02)
        first.death.set()
        await open_request
        [lost], [again] = first.asked, second.asked
        assert (lost.prompt_ids, lost.seed) == (again.prompt_ids, again.seed)

    with_engine(scenario, replicas=2, restarts=10**9)


def test_a_request_that_ends_whatever_is_asked_is_given_up() -> None:
    async def scenario(engine: Replicas, *fakes: Fake) -> None:
        for fake in fakes:
            fake.is_deadly = fake.cannot_start = True
        assert await failure(ask(engine)) == "fake 2 ended with SIGKILL"
        assert [len(fake.asked) for fake in fakes] == [1, 1, 1, 0]

    with_engine(scenario, replicas=4, restarts=10**9)


def rows_of(*lengths: int) -> list[TokenRecord]:
    """Rows whose last two tokens were sampled."""
    return [TokenRecord(np.arange(n), np.arange(n) >= n - 2, np.zeros(n)) for n in lengths]


def test_rows_are_scored_in_their_order_whoever_scores_them() -> None:
    async def scenario(engine: Replicas, first: Fake, second: Fake) -> None:
        found = await engine.score(rows_of(5, 7, 9))
        assert [one.logprobs_N.tolist() for one in found] == [[-3, -4], [-5, -6], [-7, -8]]
        second.is_deadly = second.cannot_start = True
        found = await engine.score(rows_of(5, 7, 9))
        assert [one.logprobs_N.tolist() for one in found] == [[-3, -4], [-5, -6], [-7, -8]]
        assert second.death.is_set()

    with_engine(scenario, replicas=2, restarts=10**9)


def test_what_vllm_cannot_score_is_refused() -> None:
    async def scenario(engine: Replicas, fake: Fake) -> None:
        with pytest.raises(EngineError, match="not of the whole vocabulary"):
            await engine.score(rows_of(5), ALL)
        with pytest.raises(EngineError, match="a row has 64 tokens, the engine scores 63"):
            await engine.score(rows_of(64))

    with_engine(scenario)


def test_deadlines_without_any_reply_mean_that_it_hangs() -> None:
    async def scenario(engine: Replicas, fake: Fake) -> None:
        fake.hangs = True
        missed = [asyncio.create_task(ask(engine, deadline_s=0.2)) for _ in range(2)]
        third = asyncio.create_task(ask(engine))
        await asyncio.gather(*missed, return_exceptions=True)
        assert (await third).token_ids == [7]
        assert (fake.starts, engine.stats.restarts) == (2, 1)

    with_engine(scenario)


def test_a_caller_that_leaves_early_is_no_sign_of_a_hang() -> None:
    async def scenario(engine: Replicas, fake: Fake) -> None:
        fake.hangs = True
        for _ in range(5):
            with pytest.raises(TimeoutError):
                await ask(engine, deadline_s=0.01)
        fake.hangs = False
        await ask(engine)
        assert fake.starts == 1

    with_engine(scenario)


def test_restarts_without_a_reply_in_between_end_the_run() -> None:
    async def scenario(engine: Replicas, fake: Fake) -> None:
        fake.cannot_start = True
        fake.death.set()
        await asyncio.sleep(0.02)
        with pytest.raises(BackendError, match=r"no memory left; it was restarted 2 times without a reply"):
            await ask(engine)
        assert engine.stats.restarts == 2

    with_engine(scenario)


def test_others_go_on_while_one_is_away() -> None:
    async def scenario(engine: Replicas, first: Fake, second: Fake) -> None:
        first.cannot_start = True
        first.death.set()
        await asyncio.sleep(0.02)
        replies = await asyncio.gather(*(ask(engine, f"pack {i}") for i in range(4)))
        assert len(replies) == len(second.asked) == 4

    with_engine(scenario, replicas=2, restarts=10**9)


def test_a_trajectory_keeps_its_replica_and_a_pack_shares_one() -> None:
    async def trajectory(engine: Replicas, pack: str) -> None:
        engine.open_session()
        for _ in range(3):
            await ask(engine, pack)
        engine.close_session()

    async def scenario(engine: Replicas, *fakes: Fake) -> None:
        requests: list[list[Ask]] = [fake.asked for fake in fakes]
        await asyncio.gather(*(trajectory(engine, pack) for pack in ("a", "b") for _ in range(4)))
        assert [len(one) for one in requests] == [12, 12]  # two packs, one replica each
        for one in requests:
            one.clear()
        await asyncio.gather(*(trajectory(engine, "alone") for _ in range(4)))
        assert [len(one) for one in requests] == [6, 6]  # a pack alone does not leave the other idle

    with_engine(scenario, replicas=2)


def test_weights_change_between_rollouts_only_and_salt_every_request() -> None:
    async def scenario(engine: Replicas, fake: Fake) -> None:
        await ask(engine)
        await engine.update_weights(Weights(1, Path("/published/1")))
        await ask(engine)
        await engine.update_weights(Weights(1, Path("/published/1")))  # the same: nothing to load
        await ask(engine)
        names = [one.loaded.name for one in fake.asked]
        assert names[0] != names[1] == names[2]
        assert len(fake.loaded) == 1
        fake.hangs = True
        waiting = asyncio.create_task(ask(engine))
        await asyncio.sleep(0.01)
        with pytest.raises(EngineError, match="while replies are being sampled"):
            await engine.update_weights(Weights(2, Path("/published/2")))
        waiting.cancel()

    with_engine(scenario)


def test_a_prompt_longer_than_the_window_fails_alone() -> None:
    async def scenario(engine: Replicas, fake: Fake) -> None:
        tag = tag_of("p")
        with pytest.raises(EngineError, match="64 tokens, the engine reads 64"):
            await engine.generate([1] * 64, Sampling(8), seed=0, tag=tag)
        await engine.generate([1] * 60, Sampling(8), seed=0, tag=tag)
        assert fake.asked[-1].budget == 4

    with_engine(scenario)
