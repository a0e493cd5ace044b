"""Engines of another node, over a real connection: a server and its client in one event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
import numpy as np
import pytest
from aiohttp import web

from codctl import trust
from codctl.cod.engine import (
    EngineError,
    Generation,
    LostError,
    PromptTooLongError,
    RequestTag,
    Sampling,
    Scores,
    Weights,
)
from codctl.cod.trajectory import TokenRecord
from codctl.config.schema import Config
from codctl.engines.nodes import wire
from codctl.engines.nodes.client import Address, AwayError, Node, NodeEngine, open_on_nodes
from codctl.engines.nodes.server import NodeServer
from codctl.engines.provider import EngineProvider, OpenEngine, Opening
from codctl.engines.replicas import Replicas
from codctl.errors import BackendError

KIND = f"{__name__}:Toys"
TOKEN = "a word that only the run knows"
LINES = 4 << 16  # tokens of a long reply: more bytes than a connection buffers


class Toy(OpenEngine):
    """Says how long the prompt was, and fails as it is told to."""

    opened: ClassVar[list[Toy]] = []

    def __init__(self, opening: Opening) -> None:
        super().__init__()
        self.opening, self.weights, self.cancelled = opening, Weights(0), 0
        self.scored = 0
        self.orders: list[str] = []
        self.fails: Exception | None = None
        self.hangs = False
        Toy.opened.append(self)

    async def start(self) -> None:
        self.orders.append("start")

    async def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, seed: int, tag: RequestTag
    ) -> Generation:
        tag.begin()
        if self.fails:
            raise self.fails
        if self.hangs:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        await asyncio.sleep(0.01)
        self.stats.new_tokens += sampling.max_new_tokens
        return Generation(
            [len(prompt_ids)] * sampling.max_new_tokens,
            [-seed / 3] * sampling.max_new_tokens,
            "stop",
            self.weights.version,
        )

    async def score(self, rows: Sequence[TokenRecord], top: int = 0) -> list[Scores]:
        """Of each sampled token minus a third of its number, and the `top` tokens behind it as impossible."""
        self.scored += len(rows)
        if self.fails:
            raise self.fails
        found = []
        for row in rows:
            ids_N = row.ids[row.loss_mask]
            top_ids_NK = ids_N[:, None] + np.arange(top, dtype=np.int32)
            top_logprobs_NK = np.full_like(top_ids_NK, -np.inf, np.float32)
            logprobs_N = (ids_N / -3).astype(np.float32)
            found.append(Scores(logprobs_N, top_ids_NK, top_logprobs_NK) if top else Scores(logprobs_N))
        return found

    async def update_weights(self, weights: Weights) -> None:
        self.weights = weights

    async def sleep(self) -> None:
        self.orders.append("sleep")

    async def aclose(self) -> None:
        self.orders.append("close")


class Toys(EngineProvider):
    title = "toys"

    def takes_gpus(self, config: Config) -> bool:
        return True

    def open(self, opening: Opening) -> OpenEngine:
        return Replicas([Toy(opening) for _ in opening.gpus or ((),)])


@pytest.fixture(autouse=True)
def _trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(trust.TRUSTED, KIND)


def recipe() -> Config:
    return Config.model_validate({"engine": {"kind": KIND}})


@contextlib.asynccontextmanager
async def node(folder: Path, name: str = "n2") -> AsyncIterator[tuple[Address, web.AppRunner]]:
    """A node's server, and how it is reached."""
    server = NodeServer(recipe(), folder / f"weights-{name}", folder, TOKEN)
    runner = web.AppRunner(server.app(), handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield Address(name, f"http://127.0.0.1:{runner.addresses[0][1]}", TOKEN), runner
    finally:
        await runner.cleanup()


def opening(folder: Path, gpus: int = 2, top: int | None = None) -> Opening:
    return Opening(recipe(), folder, folder, tuple((i,) for i in range(gpus)), folder / "engine.log", top=top)


def with_nodes(
    folder: Path, scenario: Callable[..., Awaitable[None]], *names: str, gpus: int = 2, top: int | None = None
) -> None:
    """Play a scenario with the engines of this node and of others; it gets the toys in the order of the members."""

    async def main() -> None:
        Toy.opened.clear()
        async with contextlib.AsyncExitStack() as stack:
            nodes = [await stack.enter_async_context(node(folder, name)) for name in names or ("n2",)]
            engine = open_on_nodes(opening(folder, gpus, top), [address for address, _ in nodes])
            await engine.start()
            try:
                await scenario(engine, *[runner for _, runner in nodes])
            finally:
                await engine.aclose()

    asyncio.run(asyncio.wait_for(main(), 60))


async def ask(engine: Any, pack: str = "p", tokens: int = 2, seed: int = 7, **calls: Any) -> Generation:
    return await engine.generate(
        [1, 2, 3], Sampling(tokens, stop_ids=(5,)), seed=seed, tag=RequestTag(pack, 0, 0, 0, "solve", **calls)
    )


def test_trajectories_are_shared_out_over_all_engines_of_all_nodes(tmp_path: Path) -> None:
    async def trajectory(engine: OpenEngine, pack: str) -> None:
        engine.open_session()
        for _ in range(3):
            assert (await ask(engine, pack)).token_ids == [3, 3]
        engine.close_session()

    async def scenario(engine: Replicas, *_: Any) -> None:
        await asyncio.gather(*(trajectory(engine, f"{number}") for number in range(6)))
        assert [toy.stats.new_tokens for toy in Toy.opened[2:]] == [6] * 4  # two nodes with two engines each
        assert engine.stats.new_tokens == 36
        assert [toy.opening.log.name for toy in Toy.opened] == ["engine.log"] * 2 + ["engine-n2.log"] * 2 + [
            "engine-n3.log"
        ] * 2

    with_nodes(tmp_path, scenario, "n2", "n3")


def test_a_reply_arrives_as_it_was_made_however_long_it_is(tmp_path: Path) -> None:
    async def scenario(engine: Replicas, _: Any) -> None:
        begun: list[str] = []
        reply = await ask(engine.members[-1], tokens=LINES, seed=10, begin=lambda: begun.append("begun"))
        assert reply == Generation([3] * LINES, [-10 / 3] * LINES, "stop", 0)
        assert begun == ["begun"]

    with_nodes(tmp_path, scenario, gpus=1)


def test_weights_reach_the_memory_of_the_node(tmp_path: Path) -> None:
    folders = [tmp_path / "published" / f"v00000{i}" for i in range(3)]
    for number, folder in enumerate(folders):
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(bytes([number]) * (wire.BYTES + 5))
        (folder / "config.json").write_text("{}")

    async def scenario(engine: Replicas, _: Any) -> None:
        far = Toy.opened[-1]
        for version, folder in enumerate(folders):
            await engine.update_weights(Weights(version, folder))
            there = far.weights.folder
            assert there is not None
            assert there.parent == tmp_path / "weights-n2"
            assert sorted(path.name for path in there.iterdir()) == ["config.json", "model.safetensors"]
            assert (there / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
            assert (await ask(engine.members[-1])).weight_version == version
        kept = {path.name.partition("-")[0] for path in (tmp_path / "weights-n2").iterdir()}
        assert kept == {"owner", "v000001", "v000002"}
        assert (tmp_path / "weights-n2").stat().st_mode & 0o777 == 0o700

    with_nodes(tmp_path, scenario)
    assert not (tmp_path / "weights-n2").exists()


def test_weights_that_change_on_their_way_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "v1").mkdir()
    (tmp_path / "v1" / "model.safetensors").write_bytes(b"weights")

    async def broken(pieces: Path, digest: Any) -> AsyncIterator[bytes]:
        digest.update(b"weights")
        yield b"heights"

    monkeypatch.setattr("codctl.engines.nodes.client._pieces", broken)

    async def scenario(engine: Replicas, _: Any) -> None:
        with pytest.raises(BackendError, match="weights were changed on their way to n2"):
            await engine.update_weights(Weights(1, tmp_path / "v1"))

    with_nodes(tmp_path, scenario, gpus=1)


def test_errors_keep_their_kind_and_name_the_node(tmp_path: Path) -> None:
    async def scenario(engine: Replicas, _: Any) -> None:
        here, far = engine.members[-1], Toy.opened[-1]
        for error in (PromptTooLongError("too long"), EngineError("no"), LostError("gone"), BackendError("given up")):
            far.fails = error
            with pytest.raises(type(error)) as caught:
                await ask(here)
            assert type(caught.value) is type(error)
            assert str(caught.value) == f"n2: {error}"

    with_nodes(tmp_path, scenario)


def test_what_an_engine_of_a_node_loses_another_node_is_asked(tmp_path: Path) -> None:
    async def scenario(engine: Replicas, *_: Any) -> None:
        waits: list[str] = []
        for toy in Toy.opened[:2]:
            toy.fails = LostError("gone")
        reply = await ask(engine, seed=5, wait=lambda: waits.append("waits"))
        assert reply.logprobs == [-5 / 3] * 2
        assert len(waits) == 2

    with_nodes(tmp_path, scenario, "n2", "n3", gpus=1)


def rows(*lengths: int) -> list[TokenRecord]:
    """Rows of so many tokens, of which all but the first are sampled."""
    return [
        TokenRecord(np.arange(n), np.arange(n) > 0, np.full(n, -9.0))  # log-probs that no score depends on
        for n in lengths
    ]


def test_a_node_scores_its_part_of_the_rows_to_the_bit(tmp_path: Path) -> None:
    async def scenario(engine: Replicas, _: Any) -> None:
        for top in (0, 2):
            found = await engine.score(rows(2, 3, 5, 8), top)
            here = await Toy.opened[0].score(rows(2, 3, 5, 8), top)
            for one, other in zip(found, here, strict=True):
                for name, values in vars(other).items():
                    np.testing.assert_array_equal(getattr(one, name), values, strict=values is not None)
        assert Toy.opened[1].scored == 4  # two of four rows, twice
        assert Toy.opened[1].opening.top == 2

    with_nodes(tmp_path, scenario, gpus=1, top=2)


def test_rows_that_an_engine_of_a_node_loses_another_one_scores_and_errors_are_raised(tmp_path: Path) -> None:
    async def scenario(engine: Replicas, _: Any) -> None:
        far = Toy.opened[-1]
        far.fails = LostError("gone")
        found = await engine.score(rows(2, 3, 4, 5))
        assert [len(one.logprobs_N) for one in found] == [1, 2, 3, 4]
        assert far.scored
        for error in (PromptTooLongError("too long"), EngineError("no"), BackendError("given up")):
            far.fails = error
            with pytest.raises(type(error), match=f"n2: {error}"):
                await engine.members[-1].score(rows(3))

    with_nodes(tmp_path, scenario, gpus=1)


def test_scores_that_no_message_holds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "LONGEST", 100)
    with pytest.raises(EngineError, match="the scores of 30 tokens are too large for a message"):
        wire.of_scores(Scores(np.zeros(30, np.float32)))


def test_a_request_that_is_given_up_ends_on_the_node(tmp_path: Path) -> None:
    async def scenario(engine: Replicas, _: Any) -> None:
        far = Toy.opened[-1]
        far.hangs = True
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await ask(engine.members[-1])
        while not far.cancelled:
            await asyncio.sleep(0.01)

    with_nodes(tmp_path, scenario)


def test_a_node_that_does_not_come_back_ends_what_waits_for_it_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codctl.engines.nodes.client._BACK_S", 0.5)

    async def scenario(engine: Replicas, runner: web.AppRunner) -> None:
        Toy.opened[-1].hangs = True
        asked = asyncio.create_task(ask(engine.members[-1]))
        await asyncio.sleep(0.2)
        await runner.cleanup()
        with pytest.raises(AwayError):
            await asked
        for waiting in (ask(engine.members[-1]), engine.members[-1].until_ready(), engine.sleep()):
            with pytest.raises(BackendError, match="the engines on n2 are lost"):
                await waiting
        with pytest.raises(BackendError, match="the engines on n2 are lost"):
            await engine.update_weights(Weights(1))

    with_nodes(tmp_path, scenario, gpus=1)


def test_a_process_that_is_started_again_is_brought_to_where_the_lost_one_was(tmp_path: Path) -> None:
    """Weights that come while it is away reach it, too; what it was asked another node is asked."""
    for name in ("v1", "v2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(name.encode())
    successors: list[Address] = []

    async def main() -> None:
        Toy.opened.clear()
        async with contextlib.AsyncExitStack() as stack:
            address, runner = await stack.enter_async_context(node(tmp_path))
            address = replace(address, successor=lambda: successors.pop() if successors else None)
            engine = open_on_nodes(opening(tmp_path), [address])
            await engine.start()
            await engine.update_weights(Weights(1, tmp_path / "v1"))
            await engine.sleep()
            far, lost = engine.members[-1], Toy.opened[-1]
            assert (await ask(far)).weight_version == 1
            lost.hangs = True
            asked = asyncio.create_task(ask(far))
            await asyncio.sleep(0.2)
            await runner.cleanup()
            with pytest.raises(AwayError):
                await asked
            assert not far.is_ready
            waiting = asyncio.create_task(ask(far))
            assert (await ask(engine)).weight_version == 1  # by this node
            await engine.update_weights(Weights(2, tmp_path / "v2"))
            again, _ = await stack.enter_async_context(node(tmp_path))
            successors.append(again)
            assert (await waiting).weight_version == 2
            assert far.is_ready
            there = Toy.opened[-1].weights.folder
            assert there is not None
            assert (there / "model.safetensors").read_bytes() == b"v2"
            assert [toy.orders for toy in Toy.opened[-2:]] == [["start", "sleep"]] * 2
            assert engine.stats.restarts == 2
            assert engine.stats.new_tokens == 6  # three replies of two tokens: none counts twice
            await engine.aclose()
            assert [toy.orders[-1] for toy in Toy.opened[-2:]] == ["close"] * 2

    asyncio.run(asyncio.wait_for(main(), 60))


def test_engines_that_do_not_start_again_end_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codctl.engines.nodes.client._LOOK_S", 0.05)

    async def refuse(self: Toy) -> None:
        self.orders.append("start")
        raise BackendError("no memory")

    async def main() -> None:
        Toy.opened.clear()
        async with contextlib.AsyncExitStack() as stack:
            address, runner = await stack.enter_async_context(node(tmp_path))
            again, _ = await stack.enter_async_context(node(tmp_path))
            successors = [again]
            address = replace(address, successor=lambda: successors.pop() if successors else None)
            engine = open_on_nodes(opening(tmp_path, 1), [address])
            await engine.start()
            monkeypatch.setattr(Toy, "start", refuse)
            await runner.cleanup()
            with pytest.raises(BackendError, match="the engines on n2 are lost: n2: no memory"):
                await engine.members[-1].until_ready()
            assert len(Toy.opened) == 2 + 1 + recipe().engine.restarts
            await engine.aclose()

    asyncio.run(asyncio.wait_for(main(), 60))


def test_orders_reach_every_engine_and_the_end_all_of_them(tmp_path: Path) -> None:
    async def scenario(engine: Replicas, _: Any) -> None:
        await engine.sleep()

    with_nodes(tmp_path, scenario)
    assert [toy.orders for toy in Toy.opened] == [["start", "sleep", "close"]] * 4


def test_without_the_token_nothing_is_answered_and_with_it_no_path_leads_out(tmp_path: Path) -> None:
    async def main() -> None:
        async with node(tmp_path) as (address, _):
            wrong = Node(Address("n2", address.url, "guess"), opening(tmp_path))
            with pytest.raises(BackendError, match="the token is not accepted"):
                await NodeEngine(wrong, 0).start()
            await wrong.disconnect()
            async with aiohttp.ClientSession(address.url) as http:
                for path in ("/state", "/nothing"):
                    async with http.get(path) as response:
                        assert (response.status, await response.read()) == (401, b"")
                headers = {"Authorization": f"Bearer {TOKEN}"}
                for name in ("..", "%2e%2e%2fout", ".hidden"):
                    async with http.put(f"/weights/v1/{name}", data=b"x", headers=headers) as response:
                        assert response.status >= 400
            assert [path.name for path in tmp_path.iterdir()] == []

    asyncio.run(asyncio.wait_for(main(), 60))
