"""What `codctl eval` takes of this machine, known before a model is loaded: memory by part, tokens, time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codctl.config.evalspec import EvalSpec
from codctl.config.schema import Config, LoraConfig, WorldConfig
from codctl.engines.budget import kv_limit
from codctl.engines.provider import KvSpace, Part, provider_of
from codctl.errors import PreflightError
from codctl.plan import engines, memory, sizes, speed
from codctl.plan.devices import Device, Layout, Phase, machine_memory, uses_gpus
from codctl.plan.hardware import Gpu, find_gpu, has_gpu
from codctl.plan.lengths import Lengths, measure
from codctl.plan.memory import GIB, Split
from codctl.plan.placement import Placement
from codctl.plan.rates import rates_for

_MINUTES_FROM_S, _HOURS_FROM_S = 90, 7200
_BATCHES = (128, 64, 32, 16, 8, 4, 2, 1)


@dataclass(frozen=True)
class EvaluationPlan:
    """An estimate of one evaluation.

    Attributes:
        device: Where the model samples, with what lies in its memory.
        replies: In all arms of all parts.
        read: Prompt tokens, each counted once.
        sampled: Reply tokens.
        seconds: Of all of it.
    """

    device: Device
    replies: float
    read: float
    sampled: float
    seconds: float

    def sentence(self) -> str:
        """The plan in one line."""
        of = f" of {self.device.memory / GIB:.1f}" if self.device.memory else ""
        return (
            f"planned: {self.device.need / GIB:.1f}{of} GiB of memory, about {_about(self.replies)} replies with "
            f"{_about(self.sampled)} tokens, {_duration(self.seconds)}"
        )


def make_plan(settings: Config, folder: Path, parts: Sequence[EvalSpec], *, was_shown: bool) -> EvaluationPlan:
    """Plan an evaluation by this machine.

    Args:
        settings: How the model runs.
        folder: Of the model.
        parts: What is played.
        was_shown: Whether the model learned from demonstrations, and so replies as briefly.

    Raises:
        PreflightError: The model's shape cannot be read.
    """
    planned = [_part(_recipe(settings, folder, spec, was_shown=was_shown)) for spec in parts]
    largest = max(planned, key=lambda one: one.device.need)
    return EvaluationPlan(
        largest.device,
        sum(one.replies for one in planned),
        sum(one.read for one in planned),
        sum(one.sampled for one in planned),
        sum(one.seconds for one in planned),
    )


def check_memory(settings: Config, folder: Path, parts: Sequence[EvalSpec], *, was_shown: bool) -> EvaluationPlan:
    """As `make_plan`, for an evaluation that has to fit.

    Raises:
        PreflightError: It does not fit; the hint is the smallest change after which it does.
    """
    plan = make_plan(settings, folder, parts, was_shown=was_shown)
    if plan.device.fits:
        return plan
    largest = max(plan.device.phases[0].parts, key=lambda part: part.bytes)
    raise PreflightError(
        f"{plan.device.name}: the model and its engine take {plan.device.need / GIB:.1f} GiB, there are "
        f"{plan.device.memory / GIB:.1f}; most of it: {largest.name}, {largest.bytes / GIB:.1f} GiB",
        where=str(folder),
        hint=_hint(settings, folder, parts, was_shown),
    )


def _hint(settings: Config, folder: Path, parts: Sequence[EvalSpec], was_shown: bool) -> str:
    for changes in _changes(settings):
        plan = make_plan(_with(settings, changes), folder, parts, was_shown=was_shown)
        if plan.device.fits:
            typed = " ".join(f"{key}={value}" for key, value in changes.items())
            return f"{typed} makes it {plan.device.need / GIB:.1f} GiB"
    return "no setting makes it fit: a smaller model, or a larger machine"


def _changes(settings: Config) -> Iterator[dict[str, Any]]:
    """From the gentlest on: fewer sequences at once change no result."""
    batches = [rows for rows in _BATCHES if rows < settings.runtime.max_batch]
    yield from ({"runtime.max_batch": rows} for rows in batches)
    if settings.model.dtype == "float32":
        yield {"model.dtype": "bfloat16"}
        yield from ({"model.dtype": "bfloat16", "runtime.max_batch": rows} for rows in batches)


def _with(settings: Config, changes: dict[str, Any]) -> Config:
    for key, value in changes.items():
        section, _, name = key.partition(".")
        part = getattr(settings, section).model_copy(update={name: value})
        settings = settings.model_copy(update={section: part})
    return settings


def _recipe(settings: Config, folder: Path, spec: EvalSpec, *, was_shown: bool) -> Config:
    """A recipe whose rollout step is this part: every pack of every arm once."""
    trajectories = spec.packs * len(spec.arms) * len(spec.seeds)
    names = ("temperature", "solve_tokens", "update_tokens")
    changed = {
        "world": WorldConfig(
            family=spec.family,
            preset=spec.preset,
            variant=spec.variant,
            rendering=spec.rendering,
            length=min(spec.length, 64),
        ),
        "model": settings.model.model_copy(
            update={"path": str(folder), "revision": None, "init": "weights", "lora": LoraConfig()}
        ),
        "sampling": settings.sampling.model_copy(update={name: getattr(spec, name) for name in names}),
        "train": settings.train.model_copy(update={"packs": trajectories, "rollouts": 1}),
        "warm_start": settings.warm_start.model_copy(update={"enabled": was_shown}),
    }
    return settings.model_copy(update=changed)


def _part(config: Config) -> EvaluationPlan:
    model = sizes.find_model(config)
    lengths = measure(config, engines.context_of(config, model))
    gpu = _gpu(config)
    split = Split(1, False, "cuda" if gpu else "cpu")
    parts, room = _engine(config, model, lengths, gpu, split)
    layout = Layout(gpu, Placement((), (None,)), split, (), room)
    device = Device("the GPU" if gpu else "this machine", "generate", 0, (Phase("generate", tuple(parts)),))
    if gpu or provider_of(config).in_process:
        device = Device(device.name, device.role, gpu.memory if gpu else machine_memory(), device.phases)
    seconds = speed.playing(config, model, lengths, layout, rates_for(gpu.kind if gpu else None)).seconds
    return EvaluationPlan(device, lengths.calls, lengths.prompt, lengths.reply, seconds)


def _engine(
    config: Config, model: sizes.Model, lengths: Lengths, gpu: Gpu | None, split: Split
) -> tuple[list[Part], KvSpace | None]:
    provider = provider_of(config)
    if not provider.in_process:
        if gpu and provider.takes_gpus(config):
            return provider.memory(config, engines.model_size(config, model), gpu.memory)
        return [Part("engine", 0, f"{provider.title or config.engine.kind}'s own")], None
    weights = model.number * model.shape.parameters
    held = [
        Part("weights", weights, f"{model.shape.parameters:,} × {model.number} B"),
        *memory.fixed(split),
    ]
    whole = gpu.memory if gpu else machine_memory()
    limit = kv_limit(whole, weights) if whole else 0
    kept, room = engines.shared_parts(model, config, lengths, split.device, own_copy=False, limit=limit)
    return [*held, *kept, *engines.pass_parts(model, config, lengths, split.device, limit)], room


def _gpu(config: Config) -> Gpu | None:
    """The GPU of this machine, whatever the recipe names."""
    if not uses_gpus(config):
        return None
    return find_gpu(config.cluster.model_copy(update={"gpu": None}) if has_gpu() else config.cluster)


def _about(number: float) -> str:
    """To two digits: it is an estimate."""
    return f"{float(f'{number:.2g}'):,.0f}"


def _duration(seconds: float) -> str:
    if seconds < _MINUTES_FROM_S:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < _HOURS_FROM_S else f"{seconds / 3600:.1f} h"
