"""How many jobs this machine runs at a time, and which GPUs each of them sees."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from codctl.errors import PreflightError, UsageError
from codctl.quantities import counted
from codctl.runs.machine import nvidia_smi, usable_cores

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Share:
    """What one running job has of the machine.

    Args:
        gpus: Ids of the GPUs that it has to itself.
        cores: Cores that are counted as taken.
        environment: Variables that keep the job to its share.
    """

    gpus: tuple[str, ...]
    cores: int
    environment: dict[str, str]


@dataclass(frozen=True)
class Slots:
    """What may be shared out.

    Args:
        gpus: Ids or UUIDs as CUDA knows them, in order.
        cores: Cores for jobs without a GPU.
        max_parallel: Jobs at a time, whatever they need; None: as many as fit.
        by_bus: The ids count GPUs by bus position, as nvidia-smi does and CUDA only when told.
    """

    gpus: tuple[str, ...] = ()
    cores: int = 1
    max_parallel: int | None = None
    by_bus: bool = False

    @classmethod
    def discover(cls, max_parallel: int | None, gpus_each: int, threads_each: int) -> Slots:
        """What this process may use of this machine: CUDA_VISIBLE_DEVICES or else all GPUs, and its own cores.

        Args:
            max_parallel: Jobs at a time at most.
            gpus_each: Whole GPUs of the hungriest job.
            threads_each: CPU threads of one job.

        Raises:
            UsageError: A number that makes no sense.
            PreflightError: The machine has fewer GPUs than one job needs.
        """
        if max_parallel is not None and max_parallel < 1:
            raise UsageError(f"max_parallel is {max_parallel}, expected 1 or more", hint="--max-parallel 1")
        if gpus_each < 0 or threads_each < 1:
            raise UsageError(f"a job cannot have {counted(gpus_each, 'GPU')} and {counted(threads_each, 'thread')}")
        gpus = visible_gpus() if gpus_each else ()
        slots = cls(gpus=gpus, cores=usable_cores(), max_parallel=max_parallel, by_bus=_VISIBLE not in os.environ)
        slots.require(gpus_each)
        return slots

    def require(self, gpus: int) -> None:
        """Refuse a job that could never start.

        Raises:
            PreflightError: There are fewer GPUs than it needs.
        """
        if gpus <= len(self.gpus):
            return
        have = f"only {len(self.gpus)}: {', '.join(self.gpus)}" if self.gpus else "none"
        raise PreflightError(
            f"a job needs {gpus} GPU{'s' if gpus > 1 else ''}, this process can use {have}",
            where=f"{_VISIBLE}={os.environ[_VISIBLE]}" if _VISIBLE in os.environ else "nvidia-smi",
            hint="cluster.gpus_per_node=0 for the CPU, --slurm for a cluster, or codctl doctor to see what is found",
        )


class Pool:
    """Hands out shares and takes them back.

    Args:
        slots: All there is.
    """

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._gpus = list(slots.gpus)
        self._cores = slots.cores
        self._taken = 0

    def take(self, gpus: int, threads: int) -> Share | None:
        """A share for one job, or None while it does not fit."""
        cores = 0 if gpus else min(threads, self._slots.cores)  # more threads than cores: alone
        full = self._slots.max_parallel is not None and self._taken >= self._slots.max_parallel
        if full or gpus > len(self._gpus) or cores > self._cores:
            return None
        chosen, self._gpus = tuple(self._gpus[:gpus]), self._gpus[gpus:]
        self._cores -= cores
        self._taken += 1
        return Share(chosen, cores, self._environment(chosen, threads))

    def give_back(self, share: Share) -> None:
        free = {*self._gpus, *share.gpus}
        self._gpus = [gpu for gpu in self._slots.gpus if gpu in free]
        self._cores += share.cores
        self._taken -= 1

    def _environment(self, gpus: Sequence[str], threads: int) -> dict[str, str]:
        # Empty only for a job that must not see any: CUDA reads an empty list as "none".
        environment = {_VISIBLE: ",".join(gpus)} | dict.fromkeys(_THREADS, str(threads))
        if self._slots.by_bus and gpus:
            environment["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        return environment


def visible_gpus() -> tuple[str, ...]:
    """Ids or UUIDs of the GPUs that this process may use; none without a driver.

    Raises:
        PreflightError: There is a driver, and it fails.
    """
    visible = os.environ.get(_VISIBLE)
    if visible is None:
        return tuple(nvidia_smi("index"))
    found: list[str] = []
    for text in (part.strip() for part in visible.split(",")):
        if not (text.isdigit() or text.startswith(("GPU-", "MIG-"))):
            break  # so does CUDA: -1, NoDevFiles and the like end the list
        if text not in found:
            found.append(text)
    return tuple(found)
