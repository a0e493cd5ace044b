"""Weights from the learner straight into the processes of an engine: a group of their own, over NCCL or gloo.

Rank 0 is the learner's process; it broadcasts one tensor after the other, as bytes. The others are those that hold the
engine's model. A link is used again until something fails on it; then both sides forget it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Literal, NamedTuple

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

_JOIN_S = 60.0
_SEND_S = 300.0  # for one tensor

_joined: dict[str, Any] = {}  # groups of this process, by key


@dataclass(frozen=True)
class Meeting:
    """Where the processes of a link find each other.

    Attributes:
        port: Of the learner's store, on this machine.
        key: Of the link, among all that use the store.
        size: Processes, the learner's one included.
        kind: How they talk.
    """

    port: int
    key: str
    size: int
    kind: Literal["nccl", "gloo"]


class Described(NamedTuple):
    """A tensor that is to come.

    Attributes:
        name: Of the parameter in the model's files.
        dtype: As torch names it, such as bfloat16.
        shape: Of the whole tensor.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]


def request(meeting: Meeting, tensors: Sequence[Described]) -> dict[str, Any]:
    """What an engine is told, in plain values: the arguments of `receive`."""
    return {"meeting": asdict(meeting), "tensors": list(tensors)}


def receive(
    meeting: dict[str, Any], tensors: Sequence[Sequence[Any]], rank: int, device: torch.device
) -> Iterator[tuple[str, torch.Tensor]]:
    """Take what the learner broadcasts, one tensor at a time.

    Args:
        meeting: Fields of a `Meeting`.
        tensors: Name, dtype and shape of each, in the order of `broadcast`.
        rank: Of this process, from 1.
        device: Where they are wanted.

    Raises:
        RuntimeError: The learner is not there, or has left.
    """
    group = join(Meeting(**meeting), rank)
    try:
        for name, dtype, shape in tensors:
            tensor = torch.empty(shape, dtype=getattr(torch, dtype), device=device)
            broadcast(group, tensor)
            yield name, tensor
    except BaseException:
        leave(meeting["key"])
        raise


def listen() -> TCPStore:
    """The learner's store, on a free port that only this machine reaches."""
    return TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=_JOIN_S))


def join(meeting: Meeting, rank: int, store: TCPStore | None = None) -> Any:
    """The group of a link; the first time it waits until all are there.

    Args:
        meeting: Where.
        rank: Of this process.
        store: The learner's own, in its process.

    Raises:
        RuntimeError: The others do not come.
    """
    if meeting.key not in _joined:
        timeout = timedelta(seconds=_JOIN_S)
        if store is None:
            store = TCPStore("127.0.0.1", meeting.port, is_master=False, wait_for_workers=False, timeout=timeout)
        # A group of its own: the default one is the learner's, or the engine's.
        apart = PrefixStore(meeting.key, store)
        if meeting.kind == "nccl":
            options = dist.ProcessGroupNCCL.Options()
            options._timeout = timeout
            _joined[meeting.key] = dist.ProcessGroupNCCL(apart, rank, meeting.size, options)
        else:
            _joined[meeting.key] = dist.ProcessGroupGloo(apart, rank, meeting.size, timeout)
    return _joined[meeting.key]


def leave(key: str) -> None:
    """Forget a link. What waits for it on a GPU is aborted."""
    group = _joined.pop(key, None)
    if group is not None and group.name() == "nccl":
        group.abort()


@torch.no_grad()
def broadcast(group: Any, tensor: torch.Tensor) -> None:
    """From rank 0 to the others, which have it overwritten; it is contiguous.

    Raises:
        RuntimeError: One of them has left.
    """
    group.broadcast(tensor.reshape(-1).view(torch.uint8), root=0, timeout=timedelta(seconds=_SEND_S)).wait()
