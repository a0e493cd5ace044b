"""The processes that learn together, seen from one of them.

Numbers and objects go over gloo on the CPU; gradients and shards over whatever fits their device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from codctl.errors import CodctlError, StageError

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """One process among those that learn together; by default it is the only one.

    Attributes:
        rank: Its place; 0 is the chief.
        size: How many there are.
        control: Their group on the CPU; None for one process.
    """

    rank: int = 0
    size: int = 1
    control: dist.ProcessGroup | None = None

    @property
    def is_chief(self) -> bool:
        return self.rank == 0

    def sum(self, values: Sequence[float]) -> list[float]:
        """Of each value over all processes."""
        return self._reduced(values, dist.ReduceOp.SUM)

    def max(self, values: Sequence[float]) -> list[float]:
        """Of each value over all processes."""
        return self._reduced(values, dist.ReduceOp.MAX)

    def share(self, value: Any = None) -> Any:
        """The chief's value, on every process."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self.control)
        return box[0]

    def together(self, task: Callable[[], T]) -> list[T]:
        """Do something in every process, and give all the results in order to each.

        Raises:
            StageError: One of the others has failed; what fails here is raised as it is.
        """
        if self.size == 1:
            return [task()]
        result, failed, why = None, None, ""
        try:
            result = task()
        except Exception as error:  # noqa: BLE001  raised below, when the others know of it
            failed = error
            why = f"{error.message} ({error.where})" if isinstance(error, CodctlError) else repr(error)
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, (result, why), group=self.control)
        if failed is not None:
            raise failed
        for rank, (_, said) in enumerate(found):
            if said:
                raise StageError(f"learner process {rank}: {said}")
        return [one for one, _ in found]

    def _reduced(self, values: Sequence[float], how: Any) -> list[float]:
        if self.size == 1:
            return list(values)
        numbers = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(numbers, how, group=self.control)
        return [float(number) for number in numbers]
