"""Which replica a trajectory talks to: always the same one, where its earlier turns are cached."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar
from weakref import WeakKeyDictionary


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
