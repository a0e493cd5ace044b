"""How long a step takes, by a throughput model: peak speeds of the device times assumed shares. Seconds."""

from __future__ import annotations

from dataclasses import dataclass, replace

from codctl.cod.arms import play_order
from codctl.config.schema import Config
from codctl.engines.provider import provider_of
from codctl.plan import warm_start
from codctl.plan.devices import Layout
from codctl.plan.hardware import flops_per_thread
from codctl.plan.lengths import Lengths
from codctl.plan.memory import Split
from codctl.plan.sizes import Model
from codctl.runs.machine import usable_cores

# Assumed efficiencies, and overheads that no peak explains.
LEARN_SHARE = 0.35  # of FLOP/s, in learner steps
PREFILL_SHARE = 0.4  # of FLOP/s, for prompts
DECODE_SHARE = 0.5  # of memory bandwidth, for replies
SLOWEST = 1.5  # length of the longest trajectory, relative to the mean
HANDOVER = 1e9  # bytes/s from the learner into the engines
CPU_SHARE = 0.6  # of the FLOP/s of a large matrix product, in learner steps and prompts on a CPU
CPU_BANDWIDTH = 10e9


@dataclass(frozen=True)
class Term:
    """Some seconds of a step and where the number comes from."""

    name: str
    seconds: float
    formula: str


@dataclass(frozen=True)
class Speed:
    """Time of a rollout step.

    Attributes:
        terms: Its parts.
        step: Seconds of a whole step; overlapped parts count once.
        tokens_per_s: Sampled tokens a second while generating.
        warm_start: Seconds of it.
        evaluation: Seconds of all evaluations.
        evaluated: Packs that they play, counted once for each arm, long ones by their length.
    """

    terms: tuple[Term, ...]
    step: float
    tokens_per_s: float
    warm_start: float
    evaluation: float
    evaluated: float


def estimate(config: Config, model: Model, lengths: Lengths, layout: Layout) -> Speed:
    """Expected time of a rollout step on these devices."""
    generate, learn, sync = (
        generating(config, model, lengths, layout),
        _learn(config, model, lengths, layout),
        _sync(config, model),
    )
    sampled = lengths.reply / generate.seconds
    step = max(generate.seconds, learn.seconds) if config.engine.overlap else generate.seconds + learn.seconds
    played = _evaluated(config)
    evaluation = generating(config, model, scaled(lengths, played), layout).seconds if played else 0.0
    return Speed(
        (generate, learn, sync),
        step + sync.seconds,
        sampled,
        warm_start=_warm_start(config, model, lengths, layout),
        evaluation=evaluation,
        evaluated=played,
    )


def scaled(lengths: Lengths, trajectories: float) -> Lengths:
    """The tokens of another number of trajectories, in the same mean lengths."""
    share = trajectories / lengths.trajectories
    return replace(
        lengths,
        trajectories=max(1, round(trajectories)),
        calls=lengths.calls * share,
        prompt=lengths.prompt * share,
        reply=lengths.reply * share,
    )


def _warm_start(config: Config, model: Model, lengths: Lengths, layout: Layout) -> float:
    if not config.warm_start.enabled:
        return 0.0
    alone = replace(layout, split=Split(1, False, layout.split.device))
    shown = scaled(lengths, warm_start.trajectories(config))
    return _learn(config, warm_start.trained_model(model, config), shown, alone).seconds


def _evaluated(config: Config) -> float:
    """Packs of all evaluations of a run, in packs of the length that is trained on."""
    evaluation, families = config.evaluation, len(config.world.parts)
    if not evaluation.enabled:
        return 0
    train, arms = config.train, play_order(evaluation.arms)
    before = 2 if train.enabled else 0
    long = 2 * evaluation.long_length / config.world.length
    times = train.steps // evaluation.every + 1 if evaluation.every and train.enabled else 0
    return evaluation.packs * families * (before + len(arms) + long) + times * evaluation.every_packs


def flops_per_token(model: Model, *, checkpointing: bool) -> float:
    """Of a learner step: forward 2, backward 4 (with frozen weights 2), and forward again with checkpointing."""
    passes = 2 + (2 if model.adapter else 4) + (2 if checkpointing else 0)
    return float(passes * model.matrices)


def _learn(config: Config, model: Model, lengths: Lengths, layout: Layout) -> Term:
    again = config.train.activation_checkpointing
    per_token = flops_per_token(model, checkpointing=again)
    attention = per_token / model.matrices * 2 * model.shape.layers * model.shape.heads * model.shape.head_dim
    flops = lengths.tokens * (per_token + attention * lengths.row / 2) + lengths.reply * model.head * 8
    share = LEARN_SHARE if layout.gpu else CPU_SHARE
    seconds = flops / (layout.split.processes * _peak(config, layout) * share)
    formula = (
        f"{lengths.tokens:,.0f} tokens × {per_token / model.matrices:.0f} × {model.matrices:,} FLOP and attention, "
        f"{layout.split.processes} × {_peak(config, layout) / 1e12:,.3g} TFLOP/s × {share:g}"
    )
    return Term("learn", seconds, formula)


def generating(config: Config, model: Model, lengths: Lengths, layout: Layout) -> Term:
    """Time to sample: prompts at the compute peak, replies at the memory's, of which each decoding step reads weights
    and caches.
    """
    engines, split = layout.placement.replicas, config.engine.tensor_parallel
    together = lengths.trajectories / engines
    sequences = min(together, config.runtime.max_batch, _fitting(layout, lengths))
    steps = max(lengths.chain * SLOWEST, lengths.chain * together / max(sequences, 1))
    weights = model.number * model.shape.parameters
    if layout.gpu:
        speed = layout.gpu.bandwidth * DECODE_SHARE * split
        prefill = 2 * model.matrices * lengths.prompt / engines / (layout.gpu.flops * PREFILL_SHARE * split)
    else:
        speed = CPU_BANDWIDTH
        prefill = 2 * model.matrices * lengths.prompt / (_peak(config, layout) * CPU_SHARE)
    overhead = provider_of(config).step_overhead_s(model.shape.layers)
    step_s = (weights + sequences * lengths.row * model.kv_bytes) / speed + overhead
    if not layout.gpu:
        step_s += 2 * (model.matrices + model.head) * sequences / (_peak(config, layout) * CPU_SHARE)
    formula = (
        f"{steps:,.0f} decoding steps × {step_s * 1e3:,.1f} ms ({sequences:,.0f} sequences, weights and KV cache at "
        f"{speed / 1e9:,.0f} GB/s, {overhead * 1e3:g} ms overhead), prompts {prefill:,.1f} s"
    )
    return Term("generate", steps * step_s + prefill, formula)


def _fitting(layout: Layout, lengths: Lengths) -> float:
    return layout.room.tokens / max(lengths.row, 1.0) if layout.room else float("inf")


def _sync(config: Config, model: Model) -> Term:
    if provider_of(config).in_process:
        return Term("weights", 0.0, "the engine samples with the learner's weights")
    size = model.published_bytes
    seconds = size / HANDOVER / config.engine.sync_every
    every = config.engine.sync_every
    return Term(
        "weights", seconds, f"{size:,} B ÷ {HANDOVER / 1e9:g} GB/s{f', every {every} steps' if every > 1 else ''}"
    )


def _peak(config: Config, layout: Layout) -> float:
    """FLOP/s of one device; float32 runs at about half of bfloat16 (TF32)."""
    if not layout.gpu:
        return flops_per_thread() * min(config.runtime.threads, usable_cores())
    return layout.gpu.flops / (2 if config.model.dtype == "float32" else 1)
