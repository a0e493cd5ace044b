"""Replies that are asked of an engine: how many wait, are being made and are done, and how long each may take.

A reply has its deadline from the moment the engine begins it. Until then it waits in a queue, and fails only when the
queue does not move: when for as long no reply is made at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from codctl.cod.engine import EngineError, Generation

T = TypeVar("T")


class Request:
    """One reply that is asked for. The engine calls `begin` and `wait`; without them it counts as waiting."""

    def __init__(self, requests: Requests, deadline_s: float, limit: asyncio.Timeout) -> None:
        self._requests, self._deadline_s, self._limit = requests, deadline_s, limit
        self._loop = asyncio.get_running_loop()
        self._since_s = self._loop.time()
        self.is_running = False
        self._timer = self._loop.call_later(deadline_s, self._look)

    def begin(self) -> None:
        """The engine makes the reply from now on."""
        self._set(is_running=True)

    def wait(self) -> None:
        """The engine has put the reply back into its queue."""
        self._set(is_running=False)

    def end(self) -> None:
        self._set(is_running=False)
        self._timer.cancel()

    def _set(self, *, is_running: bool) -> None:
        self._requests.running += is_running - self.is_running
        self.is_running, self._since_s = is_running, self._loop.time()
        self._requests.moved_s = self._since_s

    def _look(self) -> None:
        """End what is overdue; else look again later. A queue behind replies that are being made moves with them."""
        now_s, requests = self._loop.time(), self._requests
        since_s = self._since_s if self.is_running else max(self._since_s, requests.moved_s)
        left_s = since_s + self._deadline_s - now_s
        if not self.is_running and requests.running:
            left_s = self._deadline_s
        if left_s > 0:
            self._timer = self._loop.call_later(left_s, self._look)
        else:
            self._limit.reschedule(now_s)


@dataclass
class Requests:
    """All requests to one engine.

    Attributes:
        open: Replies that are asked for and not done.
        running: Replies that are being made.
        replies: Replies that are done.
        tokens: In them.
        trajectories: Trajectories that have ended.
        moved_s: When one last began or ended, on the event loop's clock.
    """

    open: int = 0
    running: int = 0
    replies: int = 0
    tokens: int = 0
    trajectories: int = 0
    moved_s: float = 0.0

    @property
    def waiting(self) -> int:
        return self.open - self.running

    async def reply(self, ask: Callable[[Request], Awaitable[Generation]], deadline_s: float, label: str) -> Generation:
        """Wait for one reply.

        Args:
            ask: Asks the engine, given the request.
            deadline_s: Seconds that the reply may take, and that the queue may stand still.
            label: Names the reply in messages.

        Raises:
            EngineError: A deadline has passed.
        """
        self.open += 1
        request = None
        try:
            async with asyncio.timeout(None) as limit:
                request = Request(self, deadline_s, limit)
                found = await ask(request)
        except TimeoutError as error:
            raise EngineError(self._overdue(request, deadline_s, label)) from error
        finally:
            self.open -= 1
            if request:
                request.end()
        self.replies += 1
        self.tokens += len(found.token_ids)
        return found

    def _overdue(self, request: Request | None, deadline_s: float, label: str) -> str:
        if request and request.is_running:
            return f"no reply within {deadline_s:g} s for {label}"
        return f"no reply has begun within {deadline_s:g} s: {label} waits for the engine, {self.open} in all"


async def gather_or_cancel(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run all of it together. The first error, or being cancelled, ends the rest before it goes on."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await end(*tasks)


async def end(*tasks: asyncio.Future[Any]) -> None:
    """Cancel tasks and wait until they have ended; their results are no longer needed."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
