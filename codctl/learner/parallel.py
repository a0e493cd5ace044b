"""The learner's processes seen from one of them, and how a model lies in them: whole copies (DDP), or shards (FSDP2).

Numbers and objects go over gloo on the CPU; gradients and shards over whatever fits their device. torch's own wrappers
rather than accelerate's: accelerate shards on GPUs only, so no test without them could see it, and it keeps the layout
of the processes in a singleton that the warm start has filled before there were several.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset
from torch.nn.parallel import DistributedDataParallel

from codctl.config.schema import Config
from codctl.errors import CodctlError, StageError
from codctl.learner.token_logprobs import TokenLogprobs
from codctl.models.outline import Outline
from codctl.models.weights import check_finite

T = TypeVar("T")
_BESIDE_S = 3600.0  # for the slowest process to write its part of a checkpoint


@dataclass(frozen=True)
class Ranks:
    """One process among those that learn together; by default it is the only one.

    Attributes:
        rank: Its place; rank 0 holds the run.
        size: How many there are.
        control: Their group on the CPU; None for one process.
    """

    rank: int = 0
    size: int = 1
    control: dist.ProcessGroup | None = None

    @property
    def is_rank_0(self) -> bool:
        return self.rank == 0

    def beside(self) -> Ranks:
        """The same processes, for a thread of each that talks beside this one; every process must call."""
        if self.size == 1:
            return self
        return replace(self, control=dist.new_group(backend="gloo", timeout=timedelta(seconds=_BESIDE_S)))

    def sum(self, values: Sequence[float]) -> list[float]:
        """Of each value over all processes."""
        return self._reduced(values, dist.ReduceOp.SUM)

    def max(self, values: Sequence[float]) -> list[float]:
        """Of each value over all processes."""
        return self._reduced(values, dist.ReduceOp.MAX)

    def broadcast(self, value: Any = None) -> Any:
        """The value of rank 0, on every process."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self.control)
        return box[0]

    def all_gather(self, task: Callable[[], T]) -> list[T]:
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
        for rank, (_, failure) in enumerate(found):
            if failure:
                raise StageError(f"learner process {rank}: {failure}")
        return [one for one, _ in found]

    def _reduced(self, values: Sequence[float], how: Any) -> list[float]:
        if self.size == 1:
            return list(values)
        numbers = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(numbers, how, group=self.control)
        return [float(number) for number in numbers]


Strategy = Literal["ddp", "fsdp"]


def strategy_of(config: Config) -> Strategy:
    """How a recipe's learner is spread, when it is several processes.

    `auto` shards full fine-tunes, where the optimiser's state is large.
    """
    chosen = config.train.strategy
    if chosen != "auto":
        return chosen
    return "ddp" if config.model.lora.rank else "fsdp"


def shards(strategy: Strategy, ranks: Ranks) -> bool:
    """Whether each process holds a part of the model, and not all of it."""
    return ranks.size > 1 and strategy == "fsdp"


class ParallelModel:
    """A model that computes log-probs, in as many processes as there are.

    Args:
        module: The model, complete and on its device; with `fsdp` its parameters become shards.
        ranks: The processes.
        strategy: How it is spread over them.
        dtype: Of the arithmetic; what is trained stays in the type that it has.
        device: Of this process.
        outline: Of the module's model, when its weights are to be read now, by each process its own part.
    """

    def __init__(
        self,
        module: TokenLogprobs,
        ranks: Ranks,
        strategy: Strategy,
        dtype: torch.dtype,
        *,
        device: torch.device,
        outline: Outline | None = None,
    ) -> None:
        self.module = module
        self.is_sharded = shards(strategy, ranks)
        self._size = ranks.size
        self._called: Any = module
        if self.is_sharded:
            if outline is not None:
                outline.vacate()
            _shard(module, ranks.size, device, dtype)
            if outline is not None:
                module._apply(lambda tensor: _with_memory(tensor, device))  # type: ignore[no-untyped-call]
                ranks.all_gather(lambda: _fill(outline))
        elif ranks.size > 1:
            self._called = DistributedDataParallel(
                module,
                device_ids=[device] if device.type == "cuda" else None,
                forward_sync_buffers=False,
                gradient_as_bucket_view=True,
            )

    def forward(self, *arguments: Any, **named: Any) -> Any:
        """With a graph for `backward`."""
        return self._called(*arguments, **named)

    def score(self, *arguments: Any, **named: Any) -> Any:
        """Without one."""
        with torch.no_grad():
            return self.module(*arguments, **named)

    def backward(self, loss: torch.Tensor) -> None:
        """Add to the gradients. The processes take the mean of theirs, and a loss here is a part of the sum."""
        torch.autograd.backward(loss * self._size if self._size > 1 else loss)

    @contextlib.contextmanager
    def micro_batch(self, *, last: bool) -> Iterator[None]:
        """Around the forward and backward pass of a micro-batch.

        Whole copies exchange gradients with the last one. Shards do it each time: FSDP keeps what it has not exchanged
        unsharded and in float32, four bytes for every parameter of the whole model in every process.
        """
        if isinstance(self._called, DistributedDataParallel) and not last:
            with self._called.no_sync():
                yield
        else:
            yield

    @torch.no_grad()
    def copy_of_trained(self) -> list[torch.Tensor]:
        """What this process holds of the trained weights, as they are now."""
        return [local(p.detach()).clone() for p in self.module.parameters() if p.requires_grad]

    @contextlib.contextmanager
    def exchanged(self, copies: Sequence[torch.Tensor]) -> Iterator[None]:
        """Let the model have other trained weights in the block, of `copy_of_trained`; `copies` keep its own.

        They change places one by one, so that there is never a third copy of more than one of them.
        """
        self._exchange(copies)
        try:
            yield
        finally:
            self._exchange(copies)

    @torch.no_grad()
    def _exchange(self, copies: Sequence[torch.Tensor]) -> None:
        self.reshard()
        trained = (local(p.detach()) for p in self.module.parameters() if p.requires_grad)
        for own, other in zip(trained, copies, strict=True):
            kept = own.clone()
            own.copy_(other)
            other.copy_(kept)

    def reshard(self) -> None:
        """Leave shards only: after a forward pass without a backward pass some weights are still gathered."""
        for part in self.module.modules():
            if isinstance(part, FSDPModule):
                part.reshard()

    def clip(self, largest: float) -> float:
        """Bound the norm of the whole gradient; the norm before."""
        trained = [p for p in self.module.parameters() if p.requires_grad]
        norm = torch.nn.utils.clip_grad_norm_(trained, largest)
        return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)


def _shard(module: TokenLogprobs, size: int, device: torch.device, dtype: torch.dtype) -> None:
    mesh = init_device_mesh(device.type, (size,))
    policy = MixedPrecisionPolicy()
    if dtype != torch.float32:
        policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
    layers = set(module.model._no_split_modules or ())
    for part in list(module.modules()):
        if type(part).__name__ in layers:
            fully_shard(part, mesh=mesh, mp_policy=policy)
    fully_shard(module, mesh=mesh, mp_policy=policy)


def _with_memory(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    return torch.empty_like(tensor, device=device) if local(tensor).is_meta else tensor


@torch.no_grad()
def _fill(outline: Outline) -> None:
    """Read what this process holds.

    Raises:
        PreflightError: Some of it is NaN or infinite.
    """
    for name, parameter in outline.parameters():
        first, end = local_rows(parameter)
        if end > first:
            local(parameter).copy_(outline.rows(name, first, end))
    held = ((name, local(parameter)) for name, parameter in outline.parameters())
    check_finite(held, next(iter(outline.stored.values())).file.parent)


def local(tensor: torch.Tensor) -> torch.Tensor:
    """The part of it that this process holds."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def gathered(tensor: torch.Tensor) -> torch.Tensor:
    """All of it; every process must call."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def local_rows(tensor: torch.Tensor) -> tuple[int, int]:
    """Which rows of the full tensor this process holds, as (first, behind the last)."""
    if not isinstance(tensor, DTensor):
        return 0, tensor.shape[0] if tensor.dim() else 1
    shape, offset = compute_local_shape_and_global_offset(tensor.shape, tensor.device_mesh, tensor.placements)
    return offset[0], offset[0] + shape[0]
