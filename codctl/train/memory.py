"""What a training takes of its machine, at each step, and whether that keeps rising."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Mapping
from itertools import pairwise

from codctl.config.schema import MemoryGate

_MIB = 2**20
_WARM_UP, _BLOCK = 20, 20  # steps
_MOST_BLOCKS = 16
_RISES, _LEAST_RISE = 3, 0.01
_WATCHED = {"memory/total_mib": "resident memory", "memory/gpu_reserved_mib": "reserved GPU memory"}


def usage() -> dict[str, float]:
    """Memory and other resources of this process and its children, those of other nodes left out.

    Returns:
        `memory/process_mib` and `memory/children_mib` (resident) and their sum `memory/total_mib`;
        `memory/gpu_allocated_mib` and `memory/gpu_reserved_mib` (of this process, where it uses a GPU);
        `memory/descriptors` and `memory/threads` of this process, and `memory/children`, their number.
    """
    import psutil

    own = psutil.Process()
    with own.oneshot():
        resident, threads = own.memory_info().rss, own.num_threads()
    of_children = []
    for child in own.children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has just ended
            of_children.append(child.memory_info().rss)
    return {
        "memory/process_mib": resident / _MIB,
        "memory/children_mib": sum(of_children) / _MIB,
        "memory/total_mib": (resident + sum(of_children)) / _MIB,
        "memory/descriptors": float(own.num_fds()),
        "memory/threads": float(threads),
        "memory/children": float(len(of_children)),
        **_of_gpu(),
    }


def _of_gpu() -> dict[str, float]:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return {}
    return {
        "memory/gpu_allocated_mib": torch.cuda.memory_allocated() / _MIB,
        "memory/gpu_reserved_mib": torch.cuda.memory_reserved() / _MIB,
    }


class Growth:
    """Tells memory that keeps rising from memory that has risen once.

    After a warm-up, steps are taken together in blocks, and the least value of each block counts: what only a
    validation or a checkpoint needs does not. Memory keeps rising when each of the last four blocks is higher than the
    one before by at least 1 % of the first. When there are many blocks, each two become one, so that slow leaks are
    seen as well.
    """

    def __init__(self) -> None:
        self._blocks: list[float] = []
        self._steps = -_WARM_UP  # in the present block
        self._length, self._least = _BLOCK, math.inf

    def add(self, value: float) -> tuple[float, float] | None:
        """Take note of a step.

        Returns:
            Where a block ends and memory keeps rising: the first block's value and this one's.
        """
        self._steps += 1
        if self._steps > 0:
            self._least = min(self._least, value)
        if self._steps < self._length:
            return None
        self._blocks.append(self._least)
        self._steps, self._least = 0, math.inf
        first, last, recent = self._blocks[0], self._blocks[-1], self._blocks[-_RISES - 1 :]
        rises = len(recent) > _RISES and all(b - a >= _LEAST_RISE * first for a, b in pairwise(recent))
        if len(self._blocks) == _MOST_BLOCKS:
            self._blocks = [min(pair) for pair in zip(self._blocks[::2], self._blocks[1::2], strict=True)]
            self._length *= 2
        return (first, last) if rises else None


class MemoryWatch:
    """Measures each step of an attempt, and says when memory keeps rising.

    Args:
        gate: `health.memory`.
        say: Told what was found.
        measure: Measures.
    """

    def __init__(
        self, gate: MemoryGate, say: Callable[[str], None], measure: Callable[[], Mapping[str, float]] = usage
    ) -> None:
        self._gate, self._say, self._measure = gate, say, measure
        self._growth = {name: Growth() for name in _WATCHED}

    def after_step(self, step: int) -> dict[str, float]:
        """The numbers of a step."""
        found = dict(self._measure())
        for name, growth in self._growth.items():
            risen = growth.add(found[name]) if name in found else None
            if risen and self._gate.action == "warn" and risen[1] > self._gate.limit * risen[0]:
                before, now = (f"{value / 1024:.2f}" for value in risen)
                self._say(
                    f"step {step}: health.memory: {_WATCHED[name]} rose from {before} to {now} GiB and keeps rising; "
                    "if memory/* in metrics.jsonl does not level off, stop the run before memory runs out: "
                    "`codctl resume` continues from its last checkpoint"
                )
        return found
