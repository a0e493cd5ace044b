"""The learner's weights on their way to the engines of its node, without a file: see `codctl.engines.link`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import torch

from codctl.cod.engine import EngineError, SendError
from codctl.cod.requests import end
from codctl.engines import link
from codctl.learner.checkpoints import full_tensors, published_dtype

if TYPE_CHECKING:
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    from codctl.learner.group import LearnerGroup
    from codctl.learner.learner import Learner


class LearnerSender:
    """See `codctl.cod.engine.Sender`. The learner stands still while it sends.

    Args:
        group: The learner.
    """

    def __init__(self, group: LearnerGroup) -> None:
        self._group = group
        self._store: TCPStore | None = None
        self._one_at_a_time = asyncio.Lock()  # every process of the learner takes part
        self._links: set[str] = set()

    async def send(
        self, ask: Callable[[dict[str, Any]], Awaitable[Any]], *, key: str, processes: int, on_gpus: bool
    ) -> None:
        async with self._one_at_a_time:
            if self._store is None:
                self._store = link.listen()
            self._links.add(key)
            meeting = link.Meeting(self._store.port, key, 1 + processes, "nccl" if on_gpus else "gloo")
            asked = asyncio.ensure_future(ask(link.request(meeting, self._group.described())))
            asked.add_done_callback(lambda done: link.leave(key) if done.cancelled() or done.exception() else None)
            sent = asyncio.ensure_future(asyncio.to_thread(self._group.send, meeting, self._store))
            try:
                failure = await asyncio.shield(sent)
                await asked
            except EngineError as error:
                failure = str(error)
            finally:
                await asyncio.wait([sent])  # who is cancelled waits as well: until then the learner is not free
                await end(asked)
            if failure:
                raise SendError(failure)

    def close(self) -> None:
        """Forget all links."""
        for key in self._links:
            link.leave(key)
        self._links.clear()


def described(learner: Learner) -> list[link.Described]:
    """What `send` sends, in its order."""
    return [
        link.Described(name, str(published_dtype(learner, tensor)).removeprefix("torch."), tuple(tensor.shape))
        for name, tensor in full_tensors(learner, gather=False)
    ]


@torch.no_grad()
def send(learner: Learner, meeting: link.Meeting, store: TCPStore | None) -> str:
    """Send all tensors of a full model; every process of the learner must call, rank 0 has the store.

    Returns:
        Why it failed; empty when all has been sent.
    """
    failure, group = "", None
    for _, tensor in full_tensors(learner):
        if store is None or failure:
            continue  # the others wait until each tensor is gathered
        try:
            group = group or link.join(meeting, 0, store)
            link.broadcast(group, tensor.to(published_dtype(learner, tensor)).contiguous())
        except RuntimeError as error:
            failure = str(error) or type(error).__name__
            link.leave(meeting.key)
    if store is not None and meeting.kind == "nccl":
        torch.cuda.current_stream().synchronize()  # until then the tensors may not change
    return failure
