"""The learner's processes as one: rank 0 says which method to call, and all of them call it.

Rank 0 is the process that holds the run. The others are its workers: they wait for the name of a method of `_Process`
and its arguments, until rank 0 shuts them down or has ended.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.distributed.distributed_c10d import _abort_process_group

from codctl.config.schema import Config
from codctl.engines import link
from codctl.errors import PreflightError, StageError
from codctl.learner import checkpoints, sending
from codctl.learner.batching import Sample
from codctl.learner.checkpoints import Restored, Saver, publish
from codctl.learner.learner import Judge, Learner
from codctl.learner.parallel import Ranks, shards, strategy_of
from codctl.learner.rendezvous import (
    Rendezvous,
    Starter,
    Workers,
    await_all,
    explained,
    join,
    join_as_worker,
    listening,
    lost,
)
from codctl.log import log
from codctl.models.load import load_trainable, outline_trainable, pick_device, processes_of
from codctl.runs.signals import Terminated

__all__ = ["LearnerGroup", "Starter", "open_group", "work"]


_STUCK_S = 20.0


class _Process:
    """What each process does when rank 0 calls it."""

    def __init__(self, config: Config, start: Path, pad_id: int, device: str, ranks: Ranks) -> None:
        strategy = strategy_of(config)
        is_sharded = shards(strategy, ranks)
        outline = outline_trainable(start, config, device) if is_sharded else None
        if is_sharded and outline is None:
            log.info("each process loads the whole model first: its files do not hold its tensors one by one")
        self.learner = Learner(
            load_trainable(start, config, device) if outline is None else outline.model,
            config.train,
            pad_id=pad_id,
            temperature=config.sampling.temperature,
            seed=config.seed,
            ranks=ranks,
            strategy=strategy,
            dtype=getattr(torch, config.model.dtype),
            device=torch.device(device),
            outline=outline,
            distill=config.distill,
            processes=processes_of(config),
        )
        train = config.train
        self.saver = Saver(self.learner, beside=train.checkpoint_beside, kept=train.checkpoints_kept)

    def learn(self, samples: Sequence[Sample], step: int, judge: Judge | None = None) -> dict[str, float]:
        return self.learner.learn(samples, step, judge)

    def score(self, samples: Sequence[Sample]) -> list[NDArray[np.float32]]:
        return self.learner.score(samples)

    def publish(self, folder: Path) -> None:
        publish(self.learner, folder)

    def send(self, meeting: link.Meeting, store: TCPStore | None = None) -> str:
        return sending.send(self.learner, meeting, store)

    def save(self, folder: Path, step: int, published: Sequence[Path], info: Mapping[str, Any] | None) -> None:
        self.saver.save(folder, step, published=published, info=info)

    def restore(self, folder: Path) -> Restored:
        self.saver.wait()
        return checkpoints.load_newest(folder, self.learner)


class LearnerGroup:
    """The learner, in one process or several; made by `open_group`.

    Every method raises StageError when another process has ended, within a minute.
    """

    def __init__(self, process: _Process, workers: Workers | None) -> None:
        self._process, self._workers = process, workers
        self._ranks = process.learner.ranks
        self._busy_since: float | None = None

    @property
    def model(self) -> Any:
        """This process's model, for an engine that shares it; None when it is sharded."""
        return None if self._process.learner.is_sharded else self._process.learner.model

    def check(self) -> None:
        """Raise StageError when another process has ended, or a checkpoint could not be written.

        Cheap, for those who wait for something else.
        """
        self.check_workers()
        self._process.saver.check()

    def check_workers(self) -> None:
        """Raise StageError when another process has ended."""
        if self._workers is not None and (why := self._workers.ended()):
            raise lost(why)

    def learn(self, samples: Sequence[Sample], step: int, judge: Judge | None = None) -> dict[str, float]:
        """See `Learner.learn`; the judge is asked in this process alone."""
        found: dict[str, float] = self._all("learn", samples, step, judge=judge)
        return found

    def score(self, samples: Sequence[Sample]) -> list[NDArray[np.float32]]:
        """Log-probs of the sampled tokens (`Learner.score`)."""
        found: list[NDArray[np.float32]] = self._all("score", samples)
        return found

    def publish(self, folder: Path) -> None:
        """Write what an engine beside the learner loads (`publishing.publish`) into a folder that is new or empty."""
        self._all("publish", folder)

    def described(self) -> list[link.Described]:
        """What `send` sends, in its order."""
        return sending.described(self._process.learner)

    def send(self, meeting: link.Meeting, store: TCPStore) -> str:
        """Send the full weights to those who have come to a meeting.

        Returns:
            Why that failed; empty when all has been sent.
        """
        failure: str = self._all("send", meeting, store=store)
        return failure

    def save(
        self, folder: Path, step: int, *, published: Sequence[Path] = (), info: Mapping[str, Any] | None = None
    ) -> None:
        """Begin to write a checkpoint `step-NNNNNN` into a folder, and prune older ones when it is sealed (`Saver`)."""
        self._all("save", folder, step, published, info)

    def await_saved(self) -> None:
        """Return when the newest checkpoint is sealed, which this process does when all have written.

        Raises:
            StageError: It could not be written.
        """
        self._process.saver.wait()

    def restore(self, folder: Path) -> Restored:
        """Continue from the newest complete checkpoint in a folder (`checkpoints.load_newest`)."""
        found: Restored = self._all("restore", folder)
        return found

    @property
    def busy_s(self) -> float:
        """How long the call that runs has been running; 0 when none does."""
        since = self._busy_since
        return time.monotonic() - since if since is not None else 0.0

    def _all(self, method: str, *arguments: Any, **own: Any) -> Any:
        if self._workers is None:
            return getattr(self._process, method)(*arguments, **own)
        self.check()
        self._busy_since = time.monotonic()
        with explained(self._workers):
            self._ranks.broadcast((method, arguments))
            found = getattr(self._process, method)(*arguments, **own)
        self._busy_since = None  # not after an error: the workers are then in the middle of something
        self.check()
        return found

    def shutdown(self, *, at_once: bool = False) -> None:
        """Shut the workers down, unless they are in the middle of something.

        Args:
            at_once: Give up the checkpoint that is being written, rather than wait for it.
        """
        self._process.saver.close(cancel=at_once)
        if self._busy_since is None and self._workers is not None and not self._workers.ended():
            with explained(self._workers):
                self._ranks.broadcast(None)
        if dist.is_initialized():
            dist.destroy_process_group()


@contextmanager
def open_group(
    config: Config,
    start: Path,
    *,
    pad_id: int,
    device: str = "auto",
    processes: int = 1,
    starter: Starter | None = None,
) -> Iterator[LearnerGroup]:
    """Load a model in all processes, and shut the workers down at the end of the block.

    Args:
        config: Recipe.
        start: Model folder; LoRA is added as the recipe says.
        pad_id: Token that fills short rows.
        device: Of this process: `cuda:0`, or as in `model.device`.
        processes: In all, this one included.
        starter: Starts the workers; None when there are none.

    Raises:
        PreflightError: The model cannot be loaded, or there is no device for each process.
        StageError: The processes do not come together, or one has ended.
    """
    device = _device(device, config, processes)
    if processes == 1:
        with _shut_down(LearnerGroup(_Process(config, start, pad_id, device, Ranks()), None)) as group:
            yield group
        return
    if starter is None:
        raise StageError(
            f"no launcher was given for the {processes} learner processes", where="cluster.processes_per_node"
        )
    with listening(config.cluster.nodes) as store, starter(store.port) as workers:
        with explained(workers):
            await_all(store, processes, workers)
            ranks = join(store, 0, processes, device)
            ranks.broadcast((start, pad_id))
            group = LearnerGroup(_Process(config, start, pad_id, device, ranks), workers)
        with _shut_down(group), _watched(group, device):
            yield group


@contextmanager
def _shut_down(group: LearnerGroup) -> Iterator[LearnerGroup]:
    """Shut a group down at the end of the block; a signal to end at once does not wait for a checkpoint."""
    try:
        yield group
        group.await_saved()
    except (KeyboardInterrupt, Terminated):
        group.shutdown(at_once=True)
        raise
    except BaseException:
        group.shutdown()
        raise
    group.shutdown()


def work(config: Config, rendezvous: Rendezvous, device: str) -> None:
    """Call what rank 0 calls, until it shuts this worker down or is lost.

    Args:
        config: Recipe.
        rendezvous: Where the others are.
        device: Of this process.

    Raises:
        StageError: Rank 0 does not answer, or what it called failed here.
    """
    device = _device(device, config, rendezvous.size)
    ranks = join_as_worker(rendezvous, device)
    start, pad_id = ranks.broadcast()
    process = _Process(config, start, pad_id, device, ranks)
    while (call := _next_call(ranks)) is not None:
        method, arguments = call
        getattr(process, method)(*arguments)
    process.saver.close()
    dist.destroy_process_group()


def _next_call(ranks: Ranks) -> Any:
    try:
        return ranks.broadcast()
    except RuntimeError:  # its connection is closed; rank 0 says why
        log.info("rank 0 has ended")
        return None


def _device(device: str, config: Config, processes: int) -> str:
    """The device of this process, as torch names it."""
    found = pick_device(device) if device in ("auto", "cpu", "cuda") else device
    if found == "cuda" and processes > 1:
        raise PreflightError(
            f"{processes} learner processes on one GPU",
            where="cluster.gpus_per_node",
            hint=f"cluster.gpus_per_node={config.cluster.processes_per_node}, or model.device=cpu",
        )
    if found.startswith("cuda"):
        torch.cuda.set_device(torch.device(found).index or 0)  # it takes no device without a number
    return found


@contextmanager
def _watched(group: LearnerGroup, device: str) -> Iterator[None]:
    """On GPUs, end a call that waits for a process that is lost: NCCL notices nothing by itself."""
    if device == "cpu":
        yield
        return
    over = threading.Event()
    threading.Thread(target=_watch, args=(group, over), name="learner-watch", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _watch(group: LearnerGroup, over: threading.Event) -> None:
    while not over.wait(1.0):
        try:
            group.check_workers()
        except StageError as error:
            if over.wait(_STUCK_S) or not group.busy_s:
                return  # the main thread has noticed, or will at its next call
            log.error("%s", error.message)
            _abort_process_group()
            if not over.wait(_STUCK_S) and group.busy_s:
                os._exit(error.exit_code)  # nothing else ends a kernel that waits forever
            return
