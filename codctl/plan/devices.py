"""Who does what on which device, and what that takes of its memory."""

from __future__ import annotations

from dataclasses import dataclass, replace

from codctl.config.schema import Config
from codctl.engines.budget import kv_limit
from codctl.engines.provider import KvSpace, Part, provider_of
from codctl.plan import engines, memory, teachers, warm_start
from codctl.plan.hardware import Gpu, find_gpu, has_gpu
from codctl.plan.lengths import Lengths
from codctl.plan.memory import Split
from codctl.plan.placement import Placement, place
from codctl.plan.sizes import MASTER, Model
from codctl.runs import machine


@dataclass(frozen=True)
class Phase:
    """What lies in a device's memory while it generates or learns."""

    name: str
    parts: tuple[Part, ...]

    @property
    def bytes(self) -> int:
        return memory.total(self.parts)


@dataclass(frozen=True)
class Device:
    """One kind of device and its share of the work.

    Attributes:
        name: Which ones, on each node.
        role: `generate`, `train` or both.
        memory: Bytes of one; 0 when unknown.
        phases: What lies in it, at its times.
    """

    name: str
    role: str
    memory: int
    phases: tuple[Phase, ...]

    @property
    def need(self) -> int:
        return max(phase.bytes for phase in self.phases)

    @property
    def fits(self) -> bool:
        return not self.memory or self.need <= self.memory


@dataclass(frozen=True)
class Layout:
    """All devices of a run.

    Attributes:
        gpu: Kind of the GPUs; None on a CPU.
        placement: Which GPUs generate and which train.
        split: How the learner is spread.
        devices: With what lies in them.
        room: KV cache of one engine; None for servers that were started outside codctl.
    """

    gpu: Gpu | None
    placement: Placement
    split: Split
    devices: tuple[Device, ...]
    room: KvSpace | None


def lay_out(config: Config, model: Model, lengths: Lengths, main_memory: int = 0) -> Layout:
    """Place a recipe.

    Args:
        config: Recipe.
        model: Of the recipe.
        lengths: Tokens of a step.
        main_memory: Bytes that a CPU has; 0 when it is not known.

    Raises:
        PreflightError: More is to be placed than there is.
    """
    layout = _with_teachers(_placed(config, model, lengths), config, model, lengths)
    devices = list(layout.devices)
    if config.warm_start.enabled:
        first = next(number for number, device in enumerate(devices) if "train" in device.role)
        parts = tuple(warm_start.parts(model, config, lengths, layout.split.device))
        devices[first] = replace(devices[first], phases=(Phase(warm_start.NAME, parts), *devices[first].phases))
    if not layout.gpu:
        # All processes of a node share its memory.
        each = main_memory // max(1, len(layout.placement.learners))
        devices = [replace(device, memory=each) for device in devices]
    return replace(layout, devices=tuple(devices))


def _placed(config: Config, model: Model, lengths: Lengths) -> Layout:
    """As `lay_out`, the rollout steps alone."""
    placement = place(config)
    gpu = find_gpu(config.cluster) if uses_gpus(config) else None
    split = split_of(config, placement.processes, "cuda" if gpu else "cpu")
    learner = memory.learning(model, split, config, lengths)
    resting = memory.resident(model, split, config.train.loss)
    provider = provider_of(config)
    if provider.in_process:
        return _shared(Layout(gpu, placement, split, (), None), config, model, lengths)
    if gpu is None or not placement.engines:
        devices = (_device(placement.learners, "train", gpu, {"learn": learner}),)
        return Layout(gpu, placement, split, devices, None)
    sampling, room = provider.memory(config, engines.model_size(config, model), gpu.memory)
    generating = tuple(place for engine in placement.engines for place in engine)
    if config.engine.placement == "disjoint":
        both = (
            _device(generating, "generate", gpu, {"generate": sampling}),
            _device(placement.learners, "train", gpu, {"learn": learner}),
        )
        return Layout(gpu, placement, split, both, room)
    asleep = Part("engine, asleep", memory.ASLEEP, "assumed: what stays while it sleeps")
    phases = {"generate": [*resting, *sampling], "learn": [*learner, asleep]}
    return Layout(gpu, placement, split, (_device(generating, "generate, train", gpu, phases),), room)


def _with_teachers(layout: Layout, config: Config, model: Model, lengths: Lengths) -> Layout:
    """With what the teachers of a distillation hold, beside the learner or on GPUs of their own."""
    beside, said = teachers.resident(config, model), teachers.lessons(config, model, lengths)
    on_gpu = teachers.apart(config, model, layout.gpu.memory) if layout.gpu else []
    devices = list(layout.devices)
    number = next(number for number, device in enumerate(devices) if "train" in device.role)
    learner = devices[number]
    phases = [
        replace(phase, parts=(*phase.parts, *beside, *(said if layout.gpu is None and phase.name == "learn" else ())))
        for phase in learner.phases
    ]
    if on_gpu and not config.distill.gpus:
        resting = memory.resident(model, layout.split, config.train.loss)
        asleep = Part("teachers, asleep", memory.ASLEEP, "assumed: what stays while they sleep")
        phases = [replace(phase, parts=(*phase.parts, asleep)) for phase in phases]
        phases.append(Phase(teachers.SCORE, (*resting, *on_gpu)))
    devices[number] = replace(learner, phases=tuple(phases))
    if on_gpu and config.distill.gpus:
        places = tuple(place for engine in layout.placement.teachers for place in engine)
        devices.append(_device(places, teachers.SCORE, layout.gpu, {teachers.SCORE: on_gpu}))
    return replace(layout, devices=tuple(devices))


def uses_gpus(config: Config) -> bool:
    """Whether a recipe runs on GPUs, here or on the nodes that it asks for."""
    if config.model.device == "cpu":
        return False
    return config.model.device == "cuda" or config.cluster.gpus_per_node > 0 or has_gpu()


def split_of(config: Config, processes: int, device: str) -> Split:
    chosen = config.train.strategy
    is_sharded = chosen == "fsdp" or (chosen == "auto" and config.model.lora.rank == 0)
    return Split(processes, is_sharded and processes > 1, device)


def _shared(layout: Layout, config: Config, model: Model, lengths: Lengths) -> Layout:
    """The transformers engine beside the learner, in the process of rank 0."""
    own_copy = layout.split.sharded or config.engine.lags
    resident = memory.resident(model, layout.split, config.train.loss)
    limit = kv_limit(layout.gpu.memory if layout.gpu else machine_memory(), memory.total(resident))
    (cache, *kept), room = engines.shared_parts(
        model, config, lengths, layout.split.device, own_copy=own_copy, limit=limit
    )
    sampling = [cache, *kept]
    if model.number < MASTER and not own_copy:
        sampling.append(memory.compute_copy(model, layout.split))
    phases = {
        "generate": [*resident, *sampling, *engines.pass_parts(model, config, lengths, layout.split.device, limit)],
        # Between two rollouts the engine keeps no keys and values.
        "learn": [
            *memory.learning(model, layout.split, config, lengths),
            *kept,
            *([cache] if config.engine.overlap else []),
        ],
    }
    first = _device(layout.placement.learners[:1], "generate, train", layout.gpu, phases)
    rest = layout.placement.learners[1:]
    devices = [first]
    if rest:
        learner = memory.learning(model, layout.split, config, lengths)
        devices.append(_device(rest, "train", layout.gpu, {"learn": learner}))
    return Layout(layout.gpu, layout.placement, layout.split, tuple(devices), room)


def _device(places: tuple[int | None, ...], role: str, gpu: Gpu | None, phases: dict[str, list[Part]]) -> Device:
    made = tuple(Phase(name, tuple(parts)) for name, parts in phases.items())
    if gpu is None:
        each = "a process" if len(places) == 1 else f"each of {len(places)} processes"
        return Device(each, role, 0, made)
    numbers = [place or 0 for place in places]
    name = f"GPU {numbers[0]}" if len(numbers) == 1 else f"GPUs {numbers[0]}–{numbers[-1]}"
    return Device(name, role, gpu.memory, made)


def machine_memory() -> int:
    """Bytes of main memory here; 0 when it cannot be told."""
    return machine.memory_bytes()
