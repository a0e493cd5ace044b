"""Lets a progress show the replies and tokens of an engine while they are made."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self

from codctl.cod.engine import EngineStats
from codctl.cod.rollout import Player
from codctl.runs.progress import Progress

_EVERY_S = 1.0


class Pulse:
    """Reports a phase once a second while the block runs, with `replies` and `tokens` since it began.

    An engine that counts what it does tells `prompt_tokens` too, those that it has read: they come first.

    Args:
        progress: Receives it. What it raises ends the block.
        player: Whose engine is watched.
        phase: What is being done; `begin` names another one.
        total: Trajectories that will be played; 0 where they are not counted.
    """

    def __init__(self, progress: Progress, player: Player, phase: str = "", total: int = 0) -> None:
        self._progress, self._player, self._total = progress, player, total
        self._error: BaseException | None = None
        self._task: asyncio.Task[None] | None = None
        self._phase = phase
        self._start = self._counts()

    async def __aenter__(self) -> Self:
        self._parent = asyncio.current_task()
        if self._phase:
            self.tell()
        self._task = asyncio.create_task(self._beat())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        if self._error is not None:
            raise self._error
        if error is None and self._phase:
            self.tell()

    def begin(self, phase: str) -> None:
        """Another phase begins."""
        self._phase, self._start = phase, self._counts()
        self.tell()

    def tell(self) -> None:
        trajectories, replies, tokens, read = (
            now - then for now, then in zip(self._counts(), self._start, strict=True)
        )
        done = trajectories if self._total else 0
        counts = {"replies": float(replies), "tokens": float(tokens)}
        if read:
            counts["prompt_tokens"] = float(read)
        self._progress.update(self._phase, done, self._total, counts)

    def _counts(self) -> tuple[int, int, int, int]:
        """Trajectories, replies, tokens and prompt tokens so far; an engine may count tokens of unfinished replies."""
        requests, stats = self._player.requests, getattr(self._player.engine, "stats", None)
        if not isinstance(stats, EngineStats):
            return requests.trajectories, requests.replies, requests.tokens, 0
        read = stats.prompt_tokens - stats.cached_tokens
        return requests.trajectories, requests.replies, stats.new_tokens, read

    async def _beat(self) -> None:
        try:
            while True:
                await asyncio.sleep(_EVERY_S)
                if self._phase:
                    self.tell()
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001  a request to stop: it ends what is watched
            self._error = error
            if self._parent:
                self._parent.cancel()
