"""Plays trajectories in several processes, each a part of them with the model as it is.

A small model in this process, on a CPU, keeps one core busy: a good part of the work is Python's, and its matrices are
too small for threads. Each process plays its part in its own order, as if it were alone, so that samples depend on the
number of processes and not on time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any, Generic, TypeVar

from codctl.cod.engine import EngineStats
from codctl.cod.requests import gather_or_cancel
from codctl.cod.rollout import Player
from codctl.cod.trajectory import Trajectory
from codctl.envs.base import Pack
from codctl.forks import Fork, Send, one_thread_each

J = TypeVar("J")
T = TypeVar("T")


@dataclass(frozen=True)
class Done(Generic[J, T]):
    """A job that is done.

    Attributes:
        job: What was to be played.
        result: What it has brought.
        in_fork: Whether it was played in another process, from which nothing else has come.
    """

    job: J
    result: T
    in_fork: bool


async def play_each(
    jobs: Sequence[J],
    play: Callable[[J], Coroutine[Any, Any, T]],
    done: Callable[[Done[J, T]], None],
    *,
    player: Player,
    packs: Iterable[Pack],
    processes: int = 1,
    at_once: int | None = None,
    begin: Callable[[J], None] = lambda job: None,
    at_fork: Callable[[], None] = lambda: None,
) -> None:
    """Play jobs in as many processes; each has its share of them, and begins them in their order.

    Args:
        jobs: What is to be played.
        play: Plays one, in whichever process. What it changes beside its result stays in that process.
        done: Called in this process with each that is done.
        player: Whose engine and requests are counted, those of the forks included. No trajectory of it is alive.
        packs: Those of the jobs. Where one waits for something elsewhere, whose connections a fork cannot share, or
            where an agent program plays, all is played in this process.
        processes: This one included.
        at_once: Most jobs that are alive together, in all processes; all by default.
        begin: Called in this process when a job begins.
        at_fork: Called in each fork before it begins.

    Raises:
        StageError: A fork has ended, or hangs.
        RuntimeError: What was to be played in a fork has failed.
    """
    if processes > 1 and (player.performer or _waits(packs, player)):
        processes = 1
    size = max(1, -(-len(jobs) // processes))
    parts = [jobs[first : first + size] for first in range(0, len(jobs), size)] or [jobs]
    seats = max(1, (at_once or len(jobs)) // len(parts))

    def work(part: Sequence[J], send: Send) -> None:
        before = _Counts.of(player)
        at_fork()
        asyncio.run(_play(part, play, lambda n, result: send((n, result, _Counts.of(player).since(before))), seats))

    with one_thread_each(len(parts)), ExitStack() as stack:
        forks = [stack.enter_context(Fork(partial(work, part))) for part in parts[1:]]
        here = _play(parts[0], play, lambda n, result: done(Done(parts[0][n], result, False)), seats, begin)
        others = (_collect(fork, part, seats, player, begin, done) for fork, part in zip(forks, parts[1:], strict=True))
        await gather_or_cancel([here, *others])


async def play_all(
    player: Player, packs: Sequence[Pack], *, processes: int = 1, at_once: int | None = None
) -> list[Trajectory]:
    """Play every pack once; trajectories come back in the order of the packs."""
    found: dict[int, Trajectory] = {}

    async def play(number: int) -> Trajectory:
        return await player.play(packs[number], 0)

    def done(one: Done[int, Trajectory]) -> None:
        found[one.job] = one.result

    await play_each(range(len(packs)), play, done, player=player, packs=packs, processes=processes, at_once=at_once)
    return [found[number] for number in range(len(packs))]


def _waits(packs: Iterable[Pack], player: Player) -> bool:
    """Whether an episode of theirs does; those of one family all do, or none."""
    first = {id(slot.family): slot for pack in packs for slot in pack.slots}
    return any(slot.begin(player.settings.rendering).waits for slot in first.values())


async def _play(
    jobs: Sequence[J],
    play: Callable[[J], Coroutine[Any, Any, T]],
    done: Callable[[int, T], None],
    seats: int,
    begin: Callable[[J], None] = lambda job: None,
) -> None:
    """Play jobs in this process; `done` is told their numbers. The first error stops all."""
    gate = asyncio.Semaphore(seats)

    async def one(number: int, job: J) -> None:
        async with gate:
            begin(job)
            result = await play(job)
        done(number, result)

    await gather_or_cancel(one(number, job) for number, job in enumerate(jobs))


async def _collect(
    fork: Fork,
    jobs: Sequence[J],
    seats: int,
    player: Player,
    begin: Callable[[J], None],
    done: Callable[[Done[J, T]], None],
) -> None:
    """Take what a fork has finished until it is all there."""
    waiting, counted = iter(jobs), _Counts()
    for job in islice(waiting, seats):
        begin(job)
    for _ in jobs:
        number, result, counts = await asyncio.to_thread(fork.receive)
        counts.since(counted).add_to(player)
        counted = counts
        done(Done(jobs[number], result, True))
        for job in islice(waiting, 1):
            begin(job)


@dataclass(frozen=True)
class _Counts:
    """What an engine and those who ask it have done."""

    stats: EngineStats = field(default_factory=EngineStats)
    trajectories: int = 0
    replies: int = 0
    tokens: int = 0

    @classmethod
    def of(cls, player: Player) -> _Counts:
        stats, requests = getattr(player.engine, "stats", None), player.requests
        known = replace(stats) if isinstance(stats, EngineStats) else EngineStats()
        return cls(known, requests.trajectories, requests.replies, requests.tokens)

    def since(self, earlier: _Counts) -> _Counts:
        return _Counts(
            self.stats.since(earlier.stats),
            self.trajectories - earlier.trajectories,
            self.replies - earlier.replies,
            self.tokens - earlier.tokens,
        )

    def add_to(self, player: Player) -> None:
        stats, requests = getattr(player.engine, "stats", None), player.requests
        if isinstance(stats, EngineStats):
            stats.add(self.stats)
        requests.trajectories += self.trajectories
        requests.replies += self.replies
        requests.tokens += self.tokens
