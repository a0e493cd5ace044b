"""Deadlines of replies: they count from when the engine begins a reply."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from codctl.cod.engine import EngineError, Generation
from codctl.cod.requests import Request, Requests

REPLY = Generation([1, 2, 3], [0.0] * 3, "stop", 0)
Ask = Callable[[Request], Awaitable[Generation]]


def taking(seconds: float, gate: asyncio.Semaphore) -> Ask:
    """An engine that makes as many replies at a time as the gate lets through, each in so many seconds."""

    async def ask(request: Request) -> Generation:
        async with gate:
            request.begin()
            await asyncio.sleep(seconds)
            return REPLY

    return ask


def replies(requests: Requests, asks: list[Ask], deadline_s: float) -> list[Generation | BaseException]:
    async def all_of_them() -> list[Generation | BaseException]:
        waits = [requests.reply(ask, deadline_s, f"reply {n}") for n, ask in enumerate(asks)]
        return list(await asyncio.gather(*waits, return_exceptions=True))

    return asyncio.run(all_of_them())


def test_the_time_in_the_queue_does_not_count() -> None:
    requests = Requests()
    one_at_a_time = taking(0.1, asyncio.Semaphore(1))
    assert replies(requests, [one_at_a_time] * 8, 0.5) == [REPLY] * 8  # the last waits for 0.7 s
    assert (requests.replies, requests.tokens, requests.open, requests.running) == (8, 24, 0, 0)


def test_a_reply_that_takes_too_long_fails_and_the_others_go_on() -> None:
    gate = asyncio.Semaphore(1)
    found = replies(Requests(), [taking(30, gate), taking(0.01, gate)], 0.3)
    assert isinstance(found[0], EngineError)
    assert str(found[0]) == "no reply within 0.3 s for reply 0"
    assert found[1] == REPLY


def test_a_queue_that_does_not_move_fails_with_all_that_wait() -> None:
    stuck = taking(0, asyncio.Semaphore(0))
    requests = Requests()
    found = replies(requests, [stuck, stuck], 0.2)
    assert str(found[0]) == "no reply has begun within 0.2 s: reply 0 waits for the engine, 2 in all"
    assert isinstance(found[1], EngineError)
    assert (requests.open, requests.running) == (0, 0)


def test_a_reply_that_is_put_back_waits_again() -> None:
    async def interrupted(request: Request) -> Generation:
        request.begin()
        await asyncio.sleep(0.1)
        request.wait()
        await asyncio.sleep(0.3)  # others are made meanwhile
        request.begin()
        await asyncio.sleep(0.1)
        return REPLY

    others = taking(0.1, asyncio.Semaphore(1))
    assert replies(Requests(), [interrupted, *[others] * 4], 0.25) == [REPLY] * 5


def test_an_error_of_the_engine_passes_through() -> None:
    async def broken(request: Request) -> Generation:
        request.begin()
        raise EngineError("gone")

    requests = Requests()
    [found] = replies(requests, [broken], 1.0)
    assert str(found) == "gone"
    assert requests.running == 0


@pytest.mark.parametrize("is_running", [False, True])
def test_a_request_that_is_cancelled_is_counted_no_more(is_running: bool) -> None:
    requests = Requests()

    async def endless(request: Request) -> Generation:
        if is_running:
            request.begin()
        await asyncio.sleep(60)
        return REPLY

    async def play() -> None:
        task = asyncio.ensure_future(requests.reply(endless, 30, "a reply"))
        await asyncio.sleep(0.01)
        assert (requests.running, requests.waiting) == (int(is_running), int(not is_running))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(play())
    assert (requests.open, requests.running) == (0, 0)
