"""How the learner's processes find each other, and what is said when one is gone."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import torch.distributed as dist
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from codctl.errors import StageError
from codctl.learner.ranks import Ranks

_MEET_S = 600.0  # until all processes are there; a busy disk takes its time with Python's imports
_COLLECTIVE_S = 1800.0
_ORDER_S = 7 * 86400.0  # a follower's wait for the next order, while packs are played
_LAST_WORDS_S = 10.0
_LOOK_S = 0.2
_LOST = ("Connection", "Timed out", "timed out")  # how gloo puts it
_AGAIN = "the same command continues from the newest checkpoint"


class Followers(Protocol):
    """The chief's fellow processes on its own node."""

    def ended(self) -> str:
        """Why one of them is gone (exit code, last words, where its log is); empty while all live."""


Starter = Callable[[int], AbstractContextManager[Followers]]
"""Starts all followers, which shall `follow` at the given port; leaving the block ends them."""


@dataclass(frozen=True)
class Meeting:
    """Where a follower finds the others.

    Attributes:
        address: Of the chief.
        port: Where it listens.
        rank: The follower's place.
        size: Processes in all.
    """

    address: str
    port: int
    rank: int
    size: int


@contextmanager
def listening(nodes: int) -> Iterator[TCPStore]:
    """The store through which processes find each other; on one node nobody else can reach it."""
    alone = nodes == 1
    listener = socket.create_server(("127.0.0.1" if alone else "", 0))
    port = listener.getsockname()[1]
    yield TCPStore(
        "127.0.0.1",
        port,
        is_master=True,
        wait_for_workers=False,
        timeout=timedelta(seconds=_MEET_S),
        master_listen_fd=listener.detach(),
    )


def _here(rank: int) -> str:
    return f"here/{rank}"


def await_all(store: TCPStore, size: int, followers: Followers) -> None:
    """Wait for every follower's first sign of life."""
    deadline = time.monotonic() + _MEET_S
    missing = list(range(1, size))
    while missing := [rank for rank in missing if not store.check([_here(rank)])]:
        if why := followers.ended():
            raise gone(why)
        if time.monotonic() > deadline:
            raise StageError(
                f"learner process {missing[0]} did not join within {_MEET_S:.0f} s",
                hint="read its log, next to this attempt's; on several nodes, check that they reach each other",
            )
        time.sleep(_LOOK_S)


def attend(meeting: Meeting, device: str) -> Ranks:
    """Come to a meeting as a follower.

    Raises:
        StageError: The chief is not there.
    """
    timeout = timedelta(seconds=_MEET_S)
    try:
        store = TCPStore(meeting.address, meeting.port, timeout=timeout, wait_for_workers=False)
        store.set(_here(meeting.rank), str(os.getpid()))
        return join(store, meeting.rank, meeting.size, device)
    except dist.DistError as error:
        raise StageError(f"rank 0 does not answer at {meeting.address}:{meeting.port}: {error}") from error


def join(store: TCPStore, rank: int, size: int, device: str) -> Ranks:
    """Become one of those who have come; returns when all have."""
    backend = "gloo" if device == "cpu" else "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=timedelta(seconds=_COLLECTIVE_S))
    control = dist.new_group(backend="gloo", timeout=timedelta(seconds=_ORDER_S))
    return Ranks(rank, size, control)


@contextmanager
def explained(followers: Followers) -> Iterator[None]:
    """Make one message of the many ways in which talk to a process that has ended can fail."""
    try:
        yield
    except RuntimeError as error:
        deadline = time.monotonic() + _LAST_WORDS_S
        while not (why := followers.ended()) and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        if why:
            raise gone(why) from error
        if isinstance(error, dist.DistError) or any(word in str(error) for word in _LOST):
            raise StageError(f"lost the connection to a learner process: {error}", hint=_AGAIN) from error
        raise


def gone(why: str) -> StageError:
    """The error for a learner process that has ended."""
    return StageError(f"a learner process ended: {why}", hint=_AGAIN)
