"""Several engines with the same weights as one: they share out the trajectories, and stand in for each other."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from codctl.cod.engine import Generation, LostError, RequestTag, Sampling, Scores, Weights
from codctl.cod.requests import gather_or_cancel
from codctl.cod.trajectory import TokenRecord
from codctl.engines.provider import OpenEngine

_CLOSE_S = 60.0
_ASKS = 3  # of one request, before its episode fails: it may be what ends the engines


class Replicas(OpenEngine):
    """See the module. A request that an engine loses is asked again: its seed makes it the same reply.

    Args:
        members: Count into the same `stats` from now on.
    """

    def __init__(self, members: Sequence[OpenEngine]) -> None:
        super().__init__()
        self.members = members
        self._routes = Routes(members)
        for member in members:
            member.stats = self.stats

    async def start(self) -> None:
        """Start every engine.

        Raises:
            BackendError: One cannot be used.
        """
        try:
            await gather_or_cancel(member.start() for member in self.members)
        except BaseException:
            await self.aclose()
            raise

    def open_session(self) -> None:
        self._routes.open_session()

    def close_session(self) -> None:
        self._routes.close_session()

    async def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, seed: int, tag: RequestTag
    ) -> Generation:
        lost: list[OpenEngine] = []
        for left in reversed(range(_ASKS)):
            member = await self._routes.find(tag.pack, lost)
            try:
                return await member.generate(prompt_ids, sampling, seed=seed, tag=tag)
            except LostError:
                if not left:
                    raise
                lost.append(member)
                tag.wait()
        raise AssertionError

    async def score(self, rows: Sequence[TokenRecord], top: int = 0) -> list[Scores]:
        """See `OpenEngine.score`. The members share the rows out; one that is lost has its part scored by the next."""
        members = self.members
        parts = [rows[first :: len(members)] for first in range(len(members))]
        found = await asyncio.gather(*(self._score(part, top, first) for first, part in enumerate(parts)))
        return [found[place % len(members)][place // len(members)] for place in range(len(rows))]

    async def _score(self, rows: Sequence[TokenRecord], top: int, first: int) -> list[Scores]:
        for left in reversed(range(_ASKS)):
            member = self.members[(first + _ASKS - 1 - left) % len(self.members)]
            try:
                return await member.score(rows, top)
            except LostError:
                if not left:
                    raise
        raise AssertionError

    async def update_weights(self, weights: Weights) -> None:
        """See `Engine`. It waits for the first engine that has them; one that is away follows.

        Raises:
            BackendError: No engine can take them.
        """
        await asyncio.gather(*(member.update_weights(weights) for member in self.members))
        waits = [asyncio.create_task(member.until_ready()) for member in self.members]
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in waits:
                task.cancel()

    async def sleep(self) -> None:
        await asyncio.gather(*(member.sleep() for member in self.members))

    async def wake(self) -> None:
        await asyncio.gather(*(member.wake() for member in self.members))

    async def aclose(self) -> None:
        """End all that was started; what does not end in time is killed."""
        async with asyncio.timeout(_CLOSE_S):
            await asyncio.gather(*(member.aclose() for member in self.members), return_exceptions=True)


def parts_of(engine: OpenEngine) -> Sequence[OpenEngine]:
    """The engines of which one consists."""
    return engine.members if isinstance(engine, Replicas) else (engine,)


class Routes:
    """Assigns trajectories, each a task of its own, to replicas.

    A pack's trajectories share a replica, because they share prompts, as long as it then has no more than its share.
    """

    def __init__(self, replicas: Sequence[OpenEngine]) -> None:
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

    async def find(self, pack: str, lost: Sequence[OpenEngine]) -> OpenEngine:
        """The replica for the next request of the running task; not one that has lost it, if another is ready."""
        if len(self._replicas) == 1:
            return self._replicas[0]
        task = asyncio.current_task()
        assert task is not None
        if task not in self._of_task:
            await asyncio.sleep(0)  # until all trajectories that begin now have opened their sessions
        number = self._of_task.get(task)
        if number is None or not self._replicas[number].is_ready or self._replicas[number] in lost:
            number = self._choose(pack, lost)
            self._of_task[task] = number
        return self._replicas[number]

    def _choose(self, pack: str, lost: Sequence[OpenEngine]) -> int:
        ready = [i for i, replica in enumerate(self._replicas) if replica.is_ready] or list(range(len(self._replicas)))
        ready = [i for i in ready if self._replicas[i] not in lost] or ready
        load = Counter(self._of_task.values())
        share = -(-self._live // len(ready))
        homes = self._of_pack.setdefault(pack, [])
        for number in homes:
            if number in ready and load[number] < share:
                return number
        number = min(ready, key=load.__getitem__)
        homes.append(number)
        return number
