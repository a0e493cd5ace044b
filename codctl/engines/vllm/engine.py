"""vLLM behind the rollout: continuous batching over all live trajectories, on one or several replicas of the model.

Every request is salted with the weights that it asks for, so that nothing that was computed with others is ever used.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar
from weakref import WeakKeyDictionary

from codctl.cod.engine import EngineError, Generation, PromptTooLongError, RequestTag, Sampling, Weights
from codctl.engines.provider import OpenEngine
from codctl.engines.vllm.backend import Ask, Backend, Loaded
from codctl.engines.vllm.replica import Replica
from codctl.engines.vllm.settings import EngineSettings, is_adapter

_CLOSE_S = 60.0


class VllmEngine(OpenEngine):
    """See the module. `start` comes first, and all is used in one event loop, until `aclose`."""

    def __init__(self, backends: Sequence[Backend], settings: EngineSettings) -> None:
        super().__init__()
        self._backends, self._settings = backends, settings
        self._word = secrets.token_hex(4)  # servers by URL may know other runs
        self._wanted = self._named(0, 0, settings.adapter)
        self._replicas: list[Replica] = []
        self._routes: Routes[Replica] = Routes([])
        self._open = 0

    async def start(self) -> None:
        """Start or find every replica.

        Raises:
            BackendError: One cannot be used.
        """
        self._replicas = [
            Replica(backend, self._settings, lambda: self._wanted, self._count_restart) for backend in self._backends
        ]
        self._routes = Routes(self._replicas)
        starts = [asyncio.create_task(replica.start()) for replica in self._replicas]
        try:
            await asyncio.gather(*starts)
        except BaseException:
            for start in starts:
                start.cancel()
            await asyncio.gather(*starts, return_exceptions=True)
            await self.aclose()
            raise

    def open_session(self) -> None:
        self._routes.open_session()

    def close_session(self) -> None:
        self._routes.close_session()

    async def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, seed: int, tag: RequestTag
    ) -> Generation:
        replica = await self._routes.find(tag.pack)
        await replica.until_ready()
        room = replica.max_tokens - len(prompt_ids)
        if room < 1:
            raise PromptTooLongError(f"the prompt has {len(prompt_ids)} tokens, the engine reads {replica.max_tokens}")
        wanted = self._wanted
        self._open += 1
        try:
            budget = min(sampling.max_new_tokens, room)
            reply = await replica.ask(Ask(list(prompt_ids), sampling, budget, seed % 2**63, wanted), tag.begin)
        finally:
            self._open -= 1
        self.stats.prompt_tokens += len(prompt_ids)
        self.stats.cached_tokens += reply.cached_tokens
        self.stats.new_tokens += len(reply.token_ids)
        return Generation(reply.token_ids, reply.logprobs, reply.finish_reason, wanted.version)

    async def update_weights(self, weights: Weights) -> None:
        """See `Engine`. Without a folder the weights stay: there are none yet but those of the start.

        Raises:
            EngineError: Replies are being sampled.
            BackendError: No replica can take them.
        """
        if self._open:
            raise EngineError("weights cannot change while replies are being sampled")
        now = self._wanted
        if weights.folder is None or (weights.version, weights.folder) == (now.version, now.folder):
            self._wanted = Loaded(now.serial, weights.version, now.folder, now.is_adapter, now.name)
        else:
            self._wanted = self._named(now.serial + 1, weights.version, weights.folder)
        await asyncio.gather(*(replica.load() for replica in self._replicas))
        await self._any_ready()

    async def sleep(self) -> None:
        """Give the GPUs' memory to the learner: weights go to the host, caches go. Nothing on a CPU or by URL."""
        if self._settings.sleeps:
            await asyncio.gather(*(replica.sleep() for replica in self._replicas))

    async def wake(self) -> None:
        """Take the memory back."""
        if self._settings.sleeps:
            await asyncio.gather(*(replica.wake() for replica in self._replicas))

    async def aclose(self) -> None:
        """End all that was started; what does not end in time is killed."""
        async with asyncio.timeout(_CLOSE_S):
            await asyncio.gather(*(replica.aclose() for replica in self._replicas), return_exceptions=True)

    def _count_restart(self) -> None:
        self.stats.restarts += 1

    def _named(self, serial: int, version: int, folder: Path | None) -> Loaded:
        is_lora = folder is not None and is_adapter(folder)
        return Loaded(serial, version, folder, is_lora, f"codctl-{self._word}-{serial}")

    async def _any_ready(self) -> None:
        """Wait for the first replica that has the weights; the others follow."""
        waits = [asyncio.create_task(replica.until_ready()) for replica in self._replicas]
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in waits:
                task.cancel()


class Target(Protocol):
    """What requests go to."""

    @property
    def is_ready(self) -> bool: ...


T = TypeVar("T", bound=Target)


class Routes(Generic[T]):
    """Assigns trajectories, each a task of its own, to replicas.

    A pack's trajectories share a replica, because they share prompts, as long as it then has no more than its share.
    """

    def __init__(self, replicas: Sequence[T]) -> None:
        self._replicas = replicas
        self._of_task: WeakKeyDictionary[asyncio.Task[Any], int] = WeakKeyDictionary()
        self._of_pack: dict[str, list[int]] = {}
        self._live = 0

    def open_session(self) -> None:
        self._live += 1

    def close_session(self) -> None:
        self._live -= 1
        if (task := asyncio.current_task()) is not None:
            self._of_task.pop(task, None)
        if not self._live:
            self._of_pack.clear()

    async def find(self, pack: str) -> T:
        """The replica for the next request of the running task."""
        if len(self._replicas) == 1:
            return self._replicas[0]
        task = asyncio.current_task()
        assert task is not None
        if task not in self._of_task:
            await asyncio.sleep(0)  # until all trajectories that begin now have opened their sessions
        number = self._of_task.get(task)
        if number is None or not self._replicas[number].is_ready:
            number = self._choose(pack)
            self._of_task[task] = number
        return self._replicas[number]

    def _choose(self, pack: str) -> int:
        ready = [i for i, replica in enumerate(self._replicas) if replica.is_ready] or list(range(len(self._replicas)))
        load = Counter(self._of_task.values())
        share = -(-self._live // len(ready))
        homes = self._of_pack.setdefault(pack, [])
        for number in homes:
            if number in ready and load[number] < share:
                return number
        number = min(ready, key=load.__getitem__)
        homes.append(number)
        return number
