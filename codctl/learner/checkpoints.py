"""A learner's weights on disk: sealed checkpoints with the state of AdamW, and what an engine beside the learner loads.

One process writes a checkpoint where each has the whole model; where it is sharded each writes its own rows, and any
number of processes can read them again. All of it is safetensors. The training goes on while a checkpoint is written:
it waits only until there is a copy in main memory.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import torch
from safetensors import SafetensorError, safe_open

from codctl.config.schema import Config
from codctl.errors import StageError
from codctl.files import atomic
from codctl.files.seal import newest_sealed, read_info, sealing
from codctl.learner.learner import Learner
from codctl.learner.parallel import Ranks, gathered, local, local_rows
from codctl.learner.tensor_file import GoOn, copy_file, write_tensors
from codctl.log import log
from codctl.models.load import load_model, with_adapters

_STATE = ("exp_avg", "exp_avg_sq")
_PUBLISHED = "published"
_TELL_S = 30.0  # of waiting for a checkpoint to be written


class Saved(Protocol):
    """What has weights and an AdamW to be kept: a learner, or whatever trains with one."""

    optimizer: torch.optim.AdamW
    ranks: Ranks

    @property
    def is_sharded(self) -> bool:
        """Whether each process holds but a part of the model."""

    def trained(self) -> list[tuple[str, torch.nn.Parameter]]:
        """Parameters that train, by the model's own names; shared ones once."""


@dataclass(frozen=True)
class Restored:
    """What a checkpoint gave back.

    Attributes:
        step: Rollout steps it was taken after; 0 when there was none.
        skipped: Why newer ones were passed over.
        published: Folders of older weights that will be sampled with.
        info: What `save` was given to keep.
    """

    step: int
    skipped: list[str] = field(default_factory=list)
    published: tuple[Path, ...] = ()
    info: Mapping[str, Any] = field(default_factory=dict)


def save(
    folder: Path,
    learner: Saved,
    step: int,
    *,
    published: Sequence[Path] = (),
    info: Mapping[str, Any] | None = None,
) -> None:
    """Write the checkpoint after `step` rollout steps, all of it or nothing. Every process calls it.

    Args:
        folder: Of all checkpoints.
        learner: Only its trained parameters are stored; shared ones once.
        step: Rollout steps made.
        published: Folders that go along under their names: older weights that will be sampled with.
        info: Plain values that `load_newest` shall give back.
    """
    content = _content(learner, step, published, info)
    _write(folder, content, learner.ranks if learner.is_sharded else Ranks())


class Saver:
    """Writes a learner's checkpoints beside its training, one at a time. Every process makes one, and calls the same.

    A failure to write is raised by whatever is called next.

    Args:
        learner: To be saved.
        beside: No makes `save` return when the checkpoint is sealed, without a copy in memory.
        kept: How many checkpoints stay when another one is sealed; None: all.
    """

    def __init__(self, learner: Learner, *, beside: bool = True, kept: int | None = None) -> None:
        self._learner, self._beside, self._kept = learner, beside, kept
        self._ranks = learner.ranks.beside() if learner.is_sharded else Ranks()
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._writing: Future[None] | None = None
        self._is_cancelled = threading.Event()

    def save(
        self, folder: Path, step: int, *, published: Sequence[Path] = (), info: Mapping[str, Any] | None = None
    ) -> None:
        """Begin to write a checkpoint; see `save`. It waits for the one before."""
        self.wait()
        content = _content(self._learner, step, published, info)
        if self._beside:
            self._writing = self._thread.submit(self._write, folder, content.copied())
        else:
            self._write(folder, content)

    def check(self) -> None:
        """Raise what has kept a checkpoint from being written."""
        if self._writing is not None and self._writing.done():
            self.wait()

    def wait(self) -> None:
        """Return when the checkpoint that is being written is sealed.

        Raises:
            StageError: Disk full, no permission and the like, here or in another process.
        """
        writing, self._writing = self._writing, None
        if writing is None:
            return
        while not wait([writing], _TELL_S).done:
            log.info("waiting for a checkpoint to be written")
        writing.result()

    def close(self, *, cancel: bool = False) -> None:
        """End the writing after something else has failed, whose error matters more: let it finish, or cancel it."""
        if cancel:
            self._is_cancelled.set()
        self._thread.shutdown()
        with contextlib.suppress(Exception):
            self.wait()

    def _write(self, folder: Path, content: _Content) -> None:
        _write(folder, content, self._ranks, self._go_on)
        if self._learner.ranks.is_rank_0:
            prune(folder, self._kept, newest=content.step)

    def _go_on(self) -> None:
        if self._is_cancelled.is_set():
            raise InterruptedError


def load_newest(folder: Path, learner: Saved) -> Restored:
    """Restore the newest complete checkpoint. Every process calls it; what rank 0 finds decides.

    Raises:
        StageError: It does not fit the model, or is of an older codctl.
    """
    ranks = learner.ranks
    newest, skipped = ranks.broadcast(newest_sealed(folder) if ranks.is_rank_0 else None)
    if newest is None:
        return Restored(0, skipped)
    ranks.all_gather(lambda: _read(learner, newest))
    info = read_info(newest)
    published = tuple(sorted(path for path in (newest / _PUBLISHED).glob("*") if path.is_dir()))
    return Restored(int(info["step"]), skipped, published, info.get("kept", {}))


def export(checkpoint: Path, start: Path, config: Config, folder: Path) -> None:
    """Write the model of a checkpoint as `publish` writes that of a learner: for engines, without its optimiser.

    Args:
        checkpoint: A sealed checkpoint, of one process or several.
        start: The model folder that its training started from.
        config: The training's recipe.
        folder: New, or empty.

    Raises:
        PreflightError: The start model cannot be loaded.
        StageError: The checkpoint does not fit it.
    """
    model = load_model(start, config.model.dtype, "cpu")
    if config.model.lora.rank:
        model = with_adapters(model, config.model.lora, config.seed)
    with torch.no_grad(), _Files(checkpoint) as files:
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                if config.model.lora.rank:
                    parameter.data = parameter.data.float()  # adapters are kept as they are trained
                parameter.copy_(files.rows(f"weight/{name}", parameter))
    model.save_pretrained(folder)


def prune(folder: Path, kept: int | None, *, newest: int) -> None:
    """Delete all but the last `kept` (None: all) up to step `newest`; what comes later was passed over as broken."""
    found = sorted(folder.glob("step-*"))
    past = [path for path in found if path.name <= _name(newest)]
    for path in found:
        if path not in past[-(kept or len(past)) :]:
            shutil.rmtree(path)


@dataclass(frozen=True)
class _Content:
    """What a process writes of a checkpoint.

    Attributes:
        step: Rollout steps made.
        info: For `Restored`.
        tensors: Weights and state; None where another process writes all of them.
        published: Open files by their names: the engine may be given other weights before they are copied.
    """

    step: int
    info: Mapping[str, Any]
    tensors: Mapping[str, torch.Tensor] | None
    published: Mapping[str, BinaryIO]

    def copied(self) -> _Content:
        """The same, of which the training changes nothing any more; out of a GPU through pinned memory."""
        if self.tensors is None:
            return self
        copies = {
            key: torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda).copy_(
                tensor, non_blocking=True
            )
            for key, tensor in self.tensors.items()
        }
        if any(tensor.is_cuda for tensor in self.tensors.values()):
            torch.cuda.synchronize()
        return replace(self, tensors=copies)


def _content(learner: Saved, step: int, published: Sequence[Path], info: Mapping[str, Any] | None) -> _Content:
    is_rank_0 = learner.ranks.is_rank_0
    return _Content(
        step,
        dict(info or {}),
        _tensors(learner) if learner.is_sharded or is_rank_0 else None,
        _opened_below(published) if is_rank_0 else {},
    )


def _opened_below(folders: Sequence[Path]) -> dict[str, BinaryIO]:
    found: dict[str, BinaryIO] = {}
    for folder in folders:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            found[path.relative_to(folder.parent).as_posix()] = path.open("rb")
    return found


def _tensors(learner: Saved) -> dict[str, torch.Tensor]:
    """What this process holds."""
    found = {}
    for name, parameter in learner.trained():
        state = learner.optimizer.state.get(parameter, {})
        found[f"weight/{name}"] = parameter
        found |= {f"{key}/{name}": value for key, value in state.items()}
    return {key: local(tensor.detach()).contiguous() for key, tensor in found.items()}


def _write(folder: Path, content: _Content, ranks: Ranks, go_on: GoOn = lambda: None) -> None:
    """Write and seal a checkpoint, together with the other processes that have a part of it."""
    if (tensors := content.tensors) is None:
        return
    name, hashes = _file(ranks.rank, ranks.size), dict[str, str]()
    with contextlib.ExitStack() as stack:
        for file in content.published.values():
            stack.enter_context(file)
        temp = Path()
        if ranks.is_rank_0:
            info = {"step": content.step, "kept": content.info}
            temp = stack.enter_context(sealing(folder / _name(content.step), info, hashes))
        temp = ranks.broadcast(temp)
        for found in ranks.all_gather(lambda: {name: write_tensors(temp / name, tensors, go_on)}):
            hashes |= found
        for path, file in content.published.items():
            copy = temp / _PUBLISHED / path
            copy.parent.mkdir(parents=True, exist_ok=True)
            hashes[copy.relative_to(temp).as_posix()] = copy_file(file, copy, go_on)


def _name(step: int) -> str:
    return f"step-{step:06d}"


def _file(rank: int, size: int) -> str:
    return f"rank-{rank:05d}-of-{size:05d}.safetensors"


@torch.no_grad()
def _read(learner: Saved, folder: Path) -> None:
    if (folder / "optimizer.pt").exists():
        raise StageError(
            "the checkpoint was written by an older codctl and cannot be continued",
            where=str(folder),
            hint="continue with the codctl that started the run, or start over with --fresh",
        )
    with _Files(folder) as files:
        for name, parameter in learner.trained():
            rows = files.rows(f"weight/{name}", parameter)
            local(parameter).copy_(rows)
            if f"step/{name}" not in files:
                continue  # it has not made a step yet
            state = {key: torch.zeros_like(parameter, memory_format=torch.preserve_format) for key in _STATE}
            for key, tensor in state.items():
                local(tensor).copy_(files.rows(f"{key}/{name}", parameter))
            learner.optimizer.state[parameter] = {"step": files.first(f"step/{name}"), **state}


class _Files(contextlib.ExitStack):
    """The files of a checkpoint, whose tensors are cut along their first dimension, in the order of the files."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._open = [self.enter_context(_opened(path)) for path in sorted(folder.glob("rank-*.safetensors"))]
        if not self._open:
            raise _damaged(folder, "it holds no rank-*.safetensors")
        self._keys = set.intersection(*(set(file.keys()) for file in self._open))

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def first(self, key: str) -> torch.Tensor:
        """What every file has the same: one number."""
        found: torch.Tensor = self._open[0].get_tensor(key)
        if found.dim():
            raise self._misfit(f"{key} has the shape {list(found.shape)}")
        return found

    def rows(self, key: str, like: torch.Tensor) -> torch.Tensor:
        """What this process holds of a tensor.

        Args:
            key: Of the tensor.
            like: A parameter of its shape, spread over the processes as they are now.

        Raises:
            StageError: There is no such tensor of this shape.
        """
        if key not in self._keys:
            raise self._misfit(f"it has no {key}")
        if not like.dim():
            return self.first(key)
        first, end = local_rows(like)
        parts, seen = [], 0
        for file in self._open:
            piece = file.get_slice(key)
            here, *others = piece.get_shape()
            if others != list(like.shape[1:]):
                raise self._misfit(f"{key} has the shape {[here, *others]}")
            if seen < end and first < seen + here:
                parts.append(piece[max(first - seen, 0) : min(end - seen, here)])
            seen += here
        if seen != like.shape[0]:
            raise self._misfit(f"{key} has {seen} rows instead of {like.shape[0]}")
        return torch.cat(parts) if parts else like.new_empty((0, *like.shape[1:]), device="cpu")

    def _misfit(self, why: str) -> StageError:
        return StageError(f"the checkpoint does not fit the model: {why}", where=str(self._folder))


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, "pt")
    except (OSError, SafetensorError) as error:
        raise _damaged(path.parent, f"{path.name} cannot be read ({error})") from error


def _damaged(folder: Path, why: str) -> StageError:
    return StageError(
        f"the checkpoint is damaged: {why}",
        where=str(folder),
        hint=f"rm -r {shlex.quote(str(folder))} leaves the run's earlier checkpoints and models",
    )


def publish(learner: Learner, folder: Path) -> None:
    """Write the model in `learner.dtype`, or its LoRA adapter as it is trained.

    Every process calls it, rank 0 writes.

    The folder is renamed into place without an fsync: it is temporary.

    Args:
        learner: Its parameters are gathered one after the other.
        folder: New, or empty.

    Raises:
        StageError: Disk full, no permission and the like.
    """
    tensors = _adapter_tensors(learner) if hasattr(learner.model, "peft_config") else _model_tensors(learner)
    if learner.ranks.is_rank_0:
        with atomic.storage_errors(folder):
            _write_published(learner.model, tensors, folder)


@torch.no_grad()
def _adapter_tensors(learner: Learner) -> dict[str, torch.Tensor]:
    return {name: gathered(parameter.detach()).cpu() for name, parameter in learner.trained()}


@torch.no_grad()
def _model_tensors(learner: Learner) -> dict[str, torch.Tensor]:
    """What `full_tensors` has, in main memory; nothing but in rank 0."""
    found: dict[str, torch.Tensor] = {}
    for name, full in full_tensors(learner):
        if learner.ranks.is_rank_0:
            found[name] = full.to(published_dtype(learner, full)).cpu()
    return found


def full_tensors(learner: Learner, *, gather: bool = True) -> Iterator[tuple[str, torch.Tensor]]:
    """All parameters and stored buffers by their names; those that are shared, under their first name alone.

    Args:
        learner: Every one of its processes must go through all of them, where they are gathered.
        gather: Whether a sharded one comes whole; its shape is the same.
    """
    seen: set[int] = set()
    for name, tensor in learner.model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            yield name, gathered(tensor.detach()) if gather else tensor.detach()


def published_dtype(learner: Learner, tensor: torch.Tensor) -> torch.dtype:
    """The type in which engines get it."""
    return learner.dtype if tensor.is_floating_point() else tensor.dtype


def _write_published(model: Any, tensors: dict[str, torch.Tensor], folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    temp = atomic.temp_sibling(folder)
    try:
        model.save_pretrained(temp, state_dict=tensors)
        if (config := temp / "config.json").is_file():
            dtype = next(iter(tensors.values())).dtype
            about = json.loads(config.read_text()) | {"dtype": str(dtype).removeprefix("torch.")}
            config.write_text(json.dumps(about, indent=2, sort_keys=True) + "\n")
        temp.rename(folder)
    except BaseException:
        shutil.rmtree(temp, ignore_errors=True)
        raise
