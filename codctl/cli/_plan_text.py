"""The plan of a recipe as text for people."""

from __future__ import annotations

from codctl.cli import _output
from codctl.config.schema import Config
from codctl.engines.provider import provider_of
from codctl.plan import schedule
from codctl.plan.devices import Device
from codctl.plan.memory import GIB, micro_batch
from codctl.plan.plan import Plan
from codctl.plan.speed import processes_on
from codctl.quantities import counted

_GB = 10**9
_SEEN_S = 0.05  # what is shorter would be shown as 0.0 s


def render(config: Config, plan: Plan, digest: str) -> str:
    """Everything that `codctl train RECIPE --dry-run` shows."""
    blocks = [
        _output.facts(_summary(config, plan, digest)),
        *(_memory(device) for device in plan.layout.devices),
        _tokens(config, plan),
        _time(config, plan),
    ]
    if plan.notes:
        blocks.append(_output.prose("\n".join(f"note: {note}" for note in plan.notes)))
    blocks.append(
        _output.prose("An estimate from the formulas above; nothing was run. Measured figures: `codctl docs scaling`.")
    )
    return "\n\n".join(blocks)


def _summary(config: Config, plan: Plan, digest: str) -> list[tuple[str, str]]:
    shape, model, layout = plan.model.shape, plan.model, plan.layout
    revision = f" at {config.model.revision[:12]}" if config.model.revision else ""
    rows = [
        ("run", f"{config.name}, digest {digest}"),
        ("model", f"{model.name}{revision}: {shape.parameters:,} parameters, {_trained(config, plan)}"),
        (
            "",
            f"embeddings {shape.embedding_parameters:,}{' (shared)' if shape.tie_embeddings else ''}, "
            f"{shape.layers} layers × {shape.layer_parameters:,}, last norm {shape.width:,}",
        ),
    ]
    if layout.gpu:
        gpu = layout.gpu
        nodes = f" on each of {config.cluster.nodes} nodes" if config.cluster.nodes > 1 else ""
        count = max(config.cluster.gpus_per_node, 1)
        rows.append(("GPUs", f"{count} × {gpu.name}{nodes}, {gpu.memory / GIB:.1f} GiB each ({gpu.source})"))
    else:
        memory = layout.devices[0].memory
        has = f", {memory / GIB:.1f} GiB of memory" if memory else ""
        processes = processes_on(config, layout)
        shared = f" shared by {processes} processes" if processes > 1 else ""
        rows.append(("device", f"CPU, {counted(config.runtime.threads, 'thread')}{shared}{has}"))
    rows += [("generate", _generating(config, plan)), ("train", _training(plan))]
    rows += [
        ("teacher" if number == 0 else "", f"{one.model}: {', '.join(one.families)}")
        for number, one in enumerate(config.distill.teachers)
    ]
    return rows


def _trained(config: Config, plan: Plan) -> str:
    kept = f"{config.model.dtype} arithmetic"
    if plan.model.adapter:
        return f"{plan.model.trained:,} of LoRA rank {config.model.lora.rank} trained in float32, {kept}"
    return f"all trained, kept in float32, {kept}"


def _generating(config: Config, plan: Plan) -> str:
    return provider_of(config).where(config, plan.layout.placement.engines)


def _training(plan: Plan) -> str:
    split = plan.layout.split
    if split.processes == 1:
        return "one process"
    kind = "fsdp: each holds part of the model" if split.sharded else "ddp: each holds all of the model"
    return f"{counted(split.processes, 'process')}, {kind}"


def _memory(device: Device) -> str:
    capacity = f" of {device.memory / GIB:.1f}" if device.memory else ""
    tables = []
    for phase in device.phases:
        over = "  DOES NOT FIT" if device.memory and phase.bytes > device.memory else ""
        rows = [[f"  {part.name}", part.bytes / GIB, part.formula] for part in phase.parts]
        title = f"{device.name}, to {phase.name}: {_gib(phase.bytes)}{capacity} GiB{over}"
        tables.append(f"{title}\n{_output.table(['  part', 'GiB', 'formula'], rows)}")
    return "\n\n".join(tables)


def _tokens(config: Config, plan: Plan) -> str:
    tokens, room = plan.lengths, plan.layout.room
    train = config.train
    rows = [
        [
            "trajectories",
            f"{tokens.trajectories:,}",
            f"{counted(train.packs, 'pack')} × {counted(train.rollouts, 'rollout')}",
        ],
        [
            "episodes",
            f"{tokens.episodes:,}",
            f"each {counted(config.world.length, 'solve')} and {counted(config.world.length - 1, 'update')}",
        ],
        ["replies", _about(tokens.calls), "turns as a scripted policy plays them on a few packs"],
        ["prompt tokens", _about(tokens.prompt), f"{tokens.counted}; each counted once"],
        ["reply tokens", _about(tokens.reply), tokens.replies_like],
        ["at most", f"{tokens.most:,}", f"every row with {tokens.longest_row:,} tokens"],
        ["micro-batch", f"{micro_batch(config, tokens):,}", f"tokens; rows of {_about(tokens.row)} on average"],
        ["optimiser steps", f"{train.optimizer_steps * plan.steps:,}", f"{plan.steps:,} rollout steps"],
        [
            "checkpoint",
            size(plan.model.checkpoint_bytes),
            f"{size(plan.disk)} on disk at most, with the trained model",
        ],
    ]
    if room and not provider_of(config).in_process:
        of_longest = f"{counted(room.sequences, 'sequence')} of {room.context:,}, each engine"
        rows.append(["KV cache", f"{room.tokens:,} tokens", of_longest])
    if plan.warm_start_steps:
        shown = f"{counted(config.warm_start.packs, 'pack')}, {plan.warm_start_steps:,} optimiser steps"
        rows.append(["warm start", f"{_about(plan.warm_start_tokens)} tokens", shown])
    if plan.host:
        rows.append(
            ["main memory", size(plan.host), "of a node, for a checkpoint that is written and weights on their way"]
        )
    return _output.table(["each step", "expected", ""], rows)


def _time(config: Config, plan: Plan) -> str:
    speed = plan.speed
    rows = [[term.name, f"{term.seconds:,.1f} s", term.formula] for term in speed.terms if term.seconds >= _SEEN_S]
    gpu_hours = f", {plan.hours * plan.gpus:,.1f} GPU-hours" if plan.gpus else ""
    rows.append(
        ["a step", f"{speed.step:,.1f} s", f"{_order(config, plan)}; {speed.tokens_per_s:,.0f} sampled tokens/s"]
    )
    rows.append(["training", duration(plan.hours), f"{counted(plan.steps, 'step')}{gpu_hours}"])
    if speed.warm_start:
        rows.append(
            ["warm start", duration(speed.warm_start / 3600), f"{_about(plan.warm_start_tokens)} tokens, one process"]
        )
    if speed.evaluated:
        words = f"{counted(round(speed.evaluated), 'pack')} in all arms"
        rows.append(["evaluation", duration(speed.evaluation / 3600), words])
    rows.append(["total", duration(plan.total_hours), ""])
    return f"{_output.table(['time', 'estimate', ''], rows)}\n\n{_seconds(plan)}"


def _order(config: Config, plan: Plan) -> str:
    """How playing and learning follow each other, in words."""
    speed = plan.speed
    if speed.engines == speed.learners or not config.engine.overlap:
        return "one after the other"
    hidden = speed.step - speed.engines[schedule.IDLE] - speed.learners[schedule.IDLE]
    return f"generate and learn at the same time, which hides {hidden:,.1f} s"


_WHAT = {
    schedule.GENERATE: "replies, were all trajectories as long as the mean",
    schedule.LEARN: "gradient steps, after the scores of teachers where there are some",
    schedule.PUBLISH: "new weights given away",
    schedule.LOAD: "new weights taken over, and checked",
    schedule.VALIDATE: "held-out packs, between two waves",
    schedule.SAVE: "what a checkpoint keeps the learner from",
}


def _seconds(plan: Plan) -> str:
    """Each second of a step: what engines and learners do in it."""
    speed = plan.speed
    is_shared = speed.engines == speed.learners
    names = dict.fromkeys([*speed.engines, *speed.learners])
    rows = []
    for name in [*(one for one in names if one != schedule.IDLE), *([] if is_shared else [schedule.IDLE])]:
        parts = [speed.engines.get(name), *([] if is_shared else [speed.learners.get(name)])]
        if max(part or 0 for part in parts) >= _SEEN_S:
            rows.append([name, *(_of(part) for part in parts), _what(name, plan)])
    rows.append(["a step", *[_of(speed.step)] * (1 if is_shared else 2), ""])
    columns = ["seconds"] if is_shared else ["engines", "learners"]
    return _output.table(["each second", *columns, ""], rows)


def _what(name: str, plan: Plan) -> str:
    speed = plan.speed
    if name == schedule.TAIL:
        longest, spread = speed.wave.longest, plan.lengths.spread
        return f"the longest trajectory has {longest:.2f} times the mean, if lengths deviate by {spread:.0%}"
    if name == schedule.IDLE:
        idle = speed.engines[name], speed.learners[name]
        return (
            f"engines {idle[0] / speed.step:.0%} of the time for newer weights, "
            f"learners {idle[1] / speed.step:.0%} for trajectories"
        )
    return _WHAT[name]


def _of(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds:,.1f} s"


def duration(hours: float) -> str:
    """Hours, below two of them minutes."""
    return f"{max(1, round(60 * hours))} min" if hours < 2 else f"{hours:,.1f} h"


def _about(number: float) -> str:
    """To three digits: it is an estimate."""
    return f"{float(f'{number:.3g}'):,.0f}"


def size(number: int) -> str:
    """Bytes in decimal units."""
    return f"{number / _GB:,.1f} GB" if number >= _GB else f"{number / 1e6:,.1f} MB"


def _gib(size: int) -> str:
    return f"{size / GIB:.2f}" if size < 100 * GIB else f"{size / GIB:.1f}"
