"""Refuse a plan that cannot fit, and name what helps most."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from codctl.config.schema import Config, Section
from codctl.engines.provider import provider_of
from codctl.errors import PreflightError
from codctl.plan.devices import Device, machine_memory, uses_gpus
from codctl.plan.memory import GIB
from codctl.plan.placement import teacher_engine
from codctl.plan.plan import Plan, make_plan

S = TypeVar("S", bound=Section)
_SMALLEST_CHUNK = 512
_BUDGETS = (65_536, 32_768, 16_384, 8_192, 4_096, 2_048)
_SHOWN = 3


def check_plan(config: Config) -> None:
    """Make sure that a recipe fits the GPUs that it is meant for. A CPU's memory is not judged: it may be elsewhere.

    Raises:
        PreflightError: It does not fit; the message names the fullest part, the hint what helps.
    """
    if uses_gpus(config):
        refuse_if_too_large(config, make_plan(config))


def check_memory(config: Config) -> None:
    """Make sure that a recipe for the CPU fits the main memory of this machine.

    Raises:
        PreflightError: As `check_plan`.
    """
    if not uses_gpus(config) and (here := machine_memory()):
        refuse_if_too_large(config, make_plan(config, here), here)


def refuse_if_too_large(config: Config, plan: Plan, main_memory: int = 0) -> None:
    """As `check_plan`, for a plan that is made already; `main_memory` as it was made with."""
    if found := problem(plan):
        message, where = found
        raise PreflightError(message, where=where, hint=_hint(config, plan, main_memory))


def problem(plan: Plan) -> tuple[str, str] | None:
    """Why a plan cannot fit, and the key that it is about; None when it does."""
    room = plan.layout.room
    if plan.full_devices:
        device = max(plan.full_devices, key=lambda device: device.need - device.memory)
        return _too_full(device), ""
    if room and plan.layout.gpu and room.tokens < room.context:
        message = f"the KV cache of an engine holds {room.tokens:,} tokens, one sequence may have {room.context:,}"
        return message, "engine.memory"
    return None


def _too_full(device: Device) -> str:
    phase = max(device.phases, key=lambda phase: phase.bytes)
    largest = max(phase.parts, key=lambda part: part.bytes)
    return (
        f"{device.name}: to {phase.name} takes {phase.bytes / GIB:.1f} GiB, there are {device.memory / GIB:.1f}; "
        f"most of it: {largest.name}, {largest.bytes / GIB:.1f} GiB"
    )


def _hint(config: Config, plan: Plan, main_memory: int) -> str:
    """The single changes after which the plan fits, the gentlest first; else as many together as it takes."""
    alone: dict[str, str] = {}
    for key, value in _candidates(config):
        if key not in alone and not _missing(changed := with_value(config, key, value), main_memory):
            alone[key] = f"{key}={typed(value)}{_need(changed, main_memory, plan)}"
        if len(alone) == _SHOWN:
            break
    if alone:
        return ", or ".join(alone.values())
    together: dict[str, str] = {}
    now, missing = config, _over(plan)
    while missing:  # the change that helps most, again and again
        changes = [(key, value, with_value(now, key, value)) for key, value in _candidates(now)]
        tried = [(_missing(changed, main_memory), number) for number, (_, _, changed) in enumerate(changes)]
        least, number = min(tried, default=(missing, 0))
        if least >= missing:
            what = "this machine: a smaller model, or a larger machine"
            if plan.layout.gpu:
                what = "these GPUs: a smaller model, or cluster.gpu=KIND for larger ones"
            return f"no setting makes it fit {what}"
        key, value, now = changes[number]
        together[key], missing = f"{key}={typed(value)}", least
    return f"together: {' '.join(together.values())}{_need(now, main_memory, plan)}"


def typed(value: Any) -> str:
    """A value as it is typed behind `KEY=`."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _missing(config: Config, main_memory: int) -> int:
    """Bytes that are missing; 0 when all fits."""
    try:
        return _over(make_plan(config, main_memory))
    except PreflightError:
        return 1 << 62


def _need(config: Config, main_memory: int, before: Plan) -> str:
    """What the devices that were too full need with another config."""
    full = {device.name for device in before.full_devices}
    needs = [device.need for device in make_plan(config, main_memory).layout.devices if device.name in full]
    return f" makes it {max(needs) / GIB:.1f} GiB" if needs else ""


def _over(plan: Plan) -> int:
    missing = sum(max(0, device.need - device.memory) for device in plan.layout.devices if device.memory)
    room = plan.layout.room
    return missing + (max(0, room.context - room.tokens) * plan.model.kv_bytes if room and plan.layout.gpu else 0)


def _candidates(config: Config) -> Iterator[tuple[str, Any]]:
    """Single changes that save memory; the first ones change nothing of what is computed."""
    train, engine, cluster = config.train, config.engine, config.cluster
    if not train.activation_checkpointing:
        yield "train.activation_checkpointing", True
    yield from (("train.micro_batch_tokens", tokens) for tokens in _BUDGETS if tokens < train.micro_batch_tokens)
    if train.checkpoint_beside and not uses_gpus(config):
        yield "train.checkpoint_beside", False
    if len(config.distill.teachers) > 1 and teacher_engine(config).in_process and not config.distill.take_turns:
        yield "distill.take_turns", True
    if train.logprob_chunk > _SMALLEST_CHUNK:
        yield "train.logprob_chunk", max(_SMALLEST_CHUNK, train.logprob_chunk // 4)
    provider = provider_of(config)
    yield from provider.smaller(config)
    generating = engine.gpus if not provider.in_process and engine.placement == "disjoint" else 0
    if cluster.processes_per_node < cluster.gpus_per_node - generating:
        yield "cluster.processes_per_node", cluster.gpus_per_node - generating
    if config.model.dtype == "float32" and config.model.path:
        yield "model.dtype", "bfloat16"
    if not config.model.lora.rank:
        yield "model.lora.rank", 32


def with_value(section: S, key: str, value: Any) -> S:
    """The same with the value of one dotted key changed; the plan needs no validation of it."""
    name, _, inner = key.partition(".")
    changed = with_value(getattr(section, name), inner, value) if inner else value
    return section.model_copy(update={name: changed})
