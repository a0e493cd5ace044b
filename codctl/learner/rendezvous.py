"""How the learner's processes find each other, and the errors for one that is lost."""

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
from codctl.learner.parallel import Ranks

_JOIN_S = 600.0  # until all processes are there; a busy disk takes its time with Python's imports
_COLLECTIVE_S = 1800.0
_CALL_S = 7 * 86400.0  # a worker's wait for the next call, while packs are played
_LAST_WORDS_S = 10.0
_LOOK_S = 0.2
_LOST = ("Connection", "Timed out", "timed out")  # how gloo puts it
_AGAIN = "the same command continues from the newest checkpoint"


class Workers(Protocol):
    """The workers on the node of rank 0."""

    def ended(self) -> str:
        """Why one of them is lost (exit code, last words, where its log is); empty while all live."""


Starter = Callable[[int], AbstractContextManager[Workers]]
"""Starts all workers, which `work` for the given port; leaving the block ends them."""


@dataclass(frozen=True)
class Rendezvous:
    """Where a worker finds the others.

    Attributes:
        address: Of rank 0.
        port: Where it listens.
        rank: The worker's place.
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
        timeout=timedelta(seconds=_JOIN_S),
        master_listen_fd=listener.detach(),
    )


def _joined(rank: int) -> str:
    return f"joined/{rank}"


def await_all(store: TCPStore, size: int, workers: Workers) -> None:
    """Wait until every worker has joined, or one has ended."""
    deadline = time.monotonic() + _JOIN_S
    missing = list(range(1, size))
    while missing := [rank for rank in missing if not store.check([_joined(rank)])]:
        if why := workers.ended():
            raise lost(why)
        if time.monotonic() > deadline:
            raise StageError(
                f"learner process {missing[0]} did not join within {_JOIN_S:.0f} s",
                hint="read its log, next to this attempt's; on several nodes, check that they reach each other",
            )
        time.sleep(_LOOK_S)


def join_as_worker(rendezvous: Rendezvous, device: str) -> Ranks:
    """Join as a worker.

    Raises:
        StageError: Rank 0 does not answer.
    """
    timeout = timedelta(seconds=_JOIN_S)
    try:
        store = TCPStore(rendezvous.address, rendezvous.port, timeout=timeout, wait_for_workers=False)
        store.set(_joined(rendezvous.rank), str(os.getpid()))
        return join(store, rendezvous.rank, rendezvous.size, device)
    except dist.DistError as error:
        raise StageError(f"rank 0 does not answer at {rendezvous.address}:{rendezvous.port}: {error}") from error


def join(store: TCPStore, rank: int, size: int, device: str) -> Ranks:
    """Join the process group; returns when all processes have."""
    backend = "gloo" if device == "cpu" else "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=timedelta(seconds=_COLLECTIVE_S))
    control = dist.new_group(backend="gloo", timeout=timedelta(seconds=_CALL_S))
    return Ranks(rank, size, control)


@contextmanager
def explained(workers: Workers) -> Iterator[None]:
    """Make one error of the many ways in which a call to a process that has ended can fail."""
    try:
        yield
    except RuntimeError as error:
        deadline = time.monotonic() + _LAST_WORDS_S
        while not (why := workers.ended()) and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        if why:
            raise lost(why) from error
        if isinstance(error, dist.DistError) or any(word in str(error) for word in _LOST):
            raise StageError(f"lost the connection to a learner process: {error}", hint=_AGAIN) from error
        raise


def lost(why: str) -> StageError:
    """The error for a learner process that has ended."""
    return StageError(f"a learner process ended: {why}", hint=_AGAIN)
