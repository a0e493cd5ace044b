"""How long a step takes: what engines and learners do, by peak speeds and `rates`, and who waits for whom. Seconds."""

from __future__ import annotations

from dataclasses import dataclass, replace

from codctl.cod.arms import play_order
from codctl.config.schema import Config
from codctl.engines.provider import processes_on_cpu, provider_of
from codctl.plan import schedule, teachers, warm_start, waves
from codctl.plan.devices import Layout
from codctl.plan.hardware import Gpu, flops_per_thread
from codctl.plan.lengths import Lengths
from codctl.plan.memory import Split, activation_bytes, micro_batch
from codctl.plan.placement import teacher_engine
from codctl.plan.rates import Rates
from codctl.plan.sizes import MASTER, Model
from codctl.plan.waves import Pace, Wave, Work
from codctl.quantities import counted
from codctl.runs.machine import usable_cores


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
        terms: The work that it takes.
        step: Seconds from one step to the next.
        engines: What engines do in that time, in seconds; adds up to it.
        learners: The same of the learners.
        wave: How all steps of one version of the weights are played.
        tokens_per_s: Sampled tokens a second.
        warm_start: Seconds of it.
        evaluation: Seconds of all evaluations.
        evaluated: Packs that they play, counted once for each arm, long ones by their length.
    """

    terms: tuple[Term, ...]
    step: float
    engines: dict[str, float]
    learners: dict[str, float]
    wave: Wave
    tokens_per_s: float
    warm_start: float
    evaluation: float
    evaluated: float


def estimate(config: Config, model: Model, lengths: Lengths, layout: Layout, rates: Rates) -> Speed:
    """Expected time of a rollout step on these devices."""
    pace, engine = pace_of(config, model, lengths, layout, rates), config.engine
    is_in_order = provider_of(config).in_process
    replicas = _replicas(config, layout)
    played = waves.play(pace, work_of(lengths), engine.sync_every, replicas, is_in_order=is_in_order)
    learn = _learn(config, model, lengths, layout, rates)
    teach = [_teach(config, model, lengths, layout, rates)] if config.distill.teachers else []
    publish, load = _hand_over(config, model, layout, rates)
    validate = _validate(config, lengths, pace, layout, load.seconds * engine.sync_every)
    save = _save(config, model, layout, rates)
    learning = sum(term.seconds for term in [*teach, learn])
    times = schedule.Durations(
        played.seconds, played.tail, played.complete, learning, publish.seconds * engine.sync_every,
        load.seconds * engine.sync_every, validate.seconds, save.seconds,
    )  # fmt: skip
    is_shared = shares_devices(config, layout)
    if engine.overlap and not is_shared:
        found = schedule.side_by_side(times, engine.lead)
    else:
        found = schedule.in_turns(times, is_shared=is_shared)
    evaluated = _evaluated(config)
    evaluation = waves.play(pace, work_of(lengths, evaluated), 1, replicas).seconds if evaluated else 0.0
    return Speed(
        (_generate(played, pace, config, layout), *teach, learn, publish, load, validate, save),
        found.step,
        found.engines,
        found.learners,
        played,
        tokens_per_s=lengths.reply / found.step,
        warm_start=_warm_start(config, model, lengths, layout, rates),
        evaluation=evaluation,
        evaluated=evaluated,
    )


def processes_on(config: Config, layout: Layout) -> int:
    """Processes that do the work of this one on a CPU (`models.load.processes_of`)."""
    return processes_on_cpu(config) if layout.gpu is None else 1


def _replicas(config: Config, layout: Layout) -> int:
    """Engines that play at the same time; on a CPU each process has its own."""
    return layout.placement.replicas * processes_on(config, layout)


def shares_devices(config: Config, layout: Layout) -> bool:
    """Whether engines and learners use the same devices, and so cannot both have all of them."""
    if provider_of(config).in_process:
        return True
    return bool(layout.placement.engines) and config.engine.placement == "colocate"


# --- playing ------------------------------------------------------------------------------------------------------


def work_of(lengths: Lengths, trajectories: float | None = None) -> Work:
    """What a rollout step gives the engines, or another number of trajectories of the same kind."""
    count = max(1, round(lengths.trajectories if trajectories is None else trajectories))
    return Work(count, lengths.chain, lengths.spread, lengths.context, lengths.prompt / lengths.trajectories)


def pace_of(config: Config, model: Model, lengths: Lengths, layout: Layout, rates: Rates) -> Pace:
    """How fast an engine samples: prompts at the compute peak, replies at the memory's."""
    seats = max(1.0, min(config.runtime.max_batch, _fitting(layout, lengths)))
    weights, products = model.number * model.shape.parameters, 2 * (model.matrices + model.head)
    overhead = _overhead(config, model, layout, rates)
    if layout.gpu is None:
        flops = _peak(config, None, processes_on(config, layout))
        speed, prompt = rates["cpu_bandwidth"], 2 * model.matrices / (flops * rates["cpu_share"])
        together = min(seats, lengths.trajectories * config.engine.sync_every / _replicas(config, layout))
        reading, computing = weights / speed, products / (flops * rates["cpu_decode_share"])
        row = rates["cpu_row_s"] + max(0.0, computing - reading / together)
        return Pace(reading + overhead, row, model.kv_bytes / speed, prompt, seats)
    split = config.engine.tensor_parallel
    speed = layout.gpu.bandwidth * rates["decode_share"] * split
    flops = _peak(config, layout.gpu) * rates["prefill_share"] * split
    reading, computing = weights / speed, products / flops
    together = min(seats, lengths.trajectories * config.engine.sync_every / layout.placement.replicas)
    row = rates["row_s"] + max(0.0, computing - reading / together)  # few rows are computed while weights are read
    if split > 1:
        sums, traffic = 2 * model.shape.layers, 2 * (split - 1) / split * model.number * model.shape.width
        overhead += sums * rates["sum_s"]
        row += sums * traffic / (layout.gpu.link * rates["sum_share"])
    return Pace(reading + overhead, row, model.kv_bytes / speed, 2 * model.matrices / flops, seats)


def _overhead(config: Config, model: Model, layout: Layout, rates: Rates) -> float:
    """Seconds of a decoding step that neither weights nor caches nor products explain."""
    provider = provider_of(config)
    own = provider.step_overhead_s(model.shape.layers)
    if own is not None:
        return own
    if provider.in_process:
        return model.shape.layers * rates["layer_s" if layout.gpu else "cpu_layer_s"]
    return rates["step_s"]


def _fitting(layout: Layout, lengths: Lengths) -> float:
    return layout.room.tokens / max(lengths.row, 1.0) if layout.room else float("inf")


def _generate(played: Wave, pace: Pace, config: Config, layout: Layout) -> Term:
    engines, steps = counted(_replicas(config, layout), "engine"), config.engine.sync_every
    formula = (
        f"{played.decoding:,.0f} decoding steps × {played.step * 1e3:,.1f} ms ({pace.step * 1e3:,.1f} ms, and "
        f"{(played.step - pace.step) * 1e3:,.1f} for sequences: {engines} with up to {played.sequences:,.0f}), "
        f"prompts {played.prompts:,.1f} s"
    )
    return Term("generate", played.seconds / steps, f"{formula}, ÷ {steps} steps" if steps > 1 else formula)


def playing(config: Config, model: Model, lengths: Lengths, layout: Layout, rates: Rates) -> Wave:
    """All trajectories of a rollout step, by themselves."""
    return waves.play(pace_of(config, model, lengths, layout, rates), work_of(lengths), 1, _replicas(config, layout))


def _validate(config: Config, lengths: Lengths, pace: Pace, layout: Layout, load: float) -> Term:
    every = config.evaluation.every if config.evaluation.enabled else 0
    if not every:
        return Term("validate", 0.0, "none")
    packs = config.evaluation.every_packs
    seconds = waves.play(pace, work_of(lengths, packs), 1, _replicas(config, layout)).seconds
    return Term("validate", (seconds + load) / every, f"{packs} packs in {seconds:,.1f} s, every {every} steps")


# --- learning -----------------------------------------------------------------------------------------------------


def flops_per_token(model: Model, *, checkpointing: bool) -> float:
    """Of a learner step: forward 2, backward 4 (with frozen weights 2), and forward again with checkpointing."""
    passes = 2 + (2 if model.adapter else 4) + (2 if checkpointing else 0)
    return float(passes * model.matrices)


def _learn(config: Config, model: Model, lengths: Lengths, layout: Layout, rates: Rates) -> Term:
    again = config.train.activation_checkpointing
    per_token = flops_per_token(model, checkpointing=again)
    attention = per_token / model.matrices * 2 * model.shape.layers * model.shape.heads * model.shape.head_dim
    flops = lengths.tokens * (per_token + attention * lengths.row / 2) + lengths.reply * model.head * 8
    share, peak = rates["learn_share" if layout.gpu else "cpu_share"], _peak(config, layout.gpu)
    seconds = flops / (layout.split.processes * peak * share)
    formula = (
        f"{lengths.tokens:,.0f} tokens × {per_token / model.matrices:.0f} × {model.matrices:,} FLOP and attention, "
        f"{layout.split.processes} × {peak / 1e12:,.3g} TFLOP/s × {share:g}"
    )
    if layout.gpu is None:
        moved = model.shape.layers * activation_bytes(model) * rates["cpu_passes"]
        each = layout.split.processes * processes_on(config, layout)
        seconds += lengths.tokens * moved / rates["cpu_bandwidth"] / each
        formula += f"; {moved:,.0f} B a token moved, {rates['cpu_bandwidth'] / 1e9:g} GB/s"
    batches = max(1.0, lengths.tokens / layout.split.processes / micro_batch(config, lengths))
    meanwhile = f"; {seconds:,.1f} s of products meanwhile"
    moving = Term("learn", batches * _moving_s(model, layout, rates), f"weights and gradients on their way{meanwhile}")
    starting_s = batches * model.shape.layers * rates["learn_layer_s"] if layout.gpu else 0.0
    starting = Term("learn", starting_s, f"kernels of {batches:,.0f} micro-batches are started{meanwhile}")
    return max(Term("learn", seconds, formula), moving, starting, key=lambda term: term.seconds)


def _teach(config: Config, model: Model, lengths: Lengths, layout: Layout, rates: Rates) -> Term:
    """What teachers take to score all rows; the learner waits for them. Each scores the rows of its families."""
    if teacher_engine(config).in_process:
        devices, share = 1, rates["learn_share" if layout.gpu else "cpu_share"]
    else:  # one after the other
        devices, share = config.distill.tensor_parallel, rates["prefill_share" if layout.gpu else "cpu_share"]
    peak, products = _peak(config, layout.gpu), teachers.flops(model, lengths)
    formula = f"{lengths.tokens:,.0f} tokens forward, {devices} × {peak / 1e12:,.3g} TFLOP/s × {share:g}"
    return Term("teach", products / (devices * peak * share), formula)


def _moving_s(model: Model, layout: Layout, rates: Rates) -> float:
    """Seconds in which sharded weights and gradients travel between the learner's GPUs, for a micro-batch."""
    gpu, split = layout.gpu, layout.split
    if gpu is None or not split.sharded:
        return 0.0
    gathered = (2 * model.number + MASTER) * model.shape.parameters * (1 - 1 / split.processes)
    return gathered / (rates["node_link"] if layout.placement.nodes > 1 else gpu.link * rates["link_share"])


def _hand_over(config: Config, model: Model, layout: Layout, rates: Rates) -> tuple[Term, Term]:
    """What an update of the weights takes of the learner, and then of the engines; for each rollout step."""
    if provider_of(config).in_process:
        none = "the engine samples with the learner's weights"
        return Term("publish", 0.0, none), Term("load", 0.0, none)
    size, every = model.published_bytes, config.engine.sync_every
    gather, publish, load = rates["gather"], rates["publish"], rates["load"]
    given = size / gather + size / publish
    if provider_of(config).is_sent_to(config) and layout.gpu:
        load, replicas = layout.gpu.link * rates["link_share"], layout.placement.replicas
        size_taken, shown = size * replicas, f"{replicas} × {size:,} B" if replicas > 1 else f"{size:,} B"
    else:
        size_taken, shown = size, f"{size:,} B"
    taken = size_taken / load + rates["probes_s"]
    words = f"{size:,} B ÷ {gather / 1e9:g} and ÷ {publish / 1e9:g} GB/s"
    then = f"{shown} ÷ {load / 1e9:g} GB/s, probes {rates['probes_s']:g} s"
    if layout.placement.engine_nodes > 1:
        taken += size / rates["node_weights"]
        then += f", to other nodes ÷ {rates['node_weights'] / 1e9:g} GB/s"
    often = f", every {every} steps" if every > 1 else ""
    return Term("publish", given / every, words + often), Term("load", taken / every, then + often)


def _save(config: Config, model: Model, layout: Layout, rates: Rates) -> Term:
    """What a checkpoint keeps the learner from: of one that is written beside the training, the copy in main memory."""
    every, size, disk = config.train.checkpoint_every, model.checkpoint_bytes, rates["disk"]
    often = f", every {every} steps" if every > 1 else ""
    if not config.train.checkpoint_beside:
        return Term("checkpoint", size / disk / every, f"{size:,} B ÷ {disk / 1e9:g} GB/s{often}")
    split = layout.split
    copied = size / split.shards / (rates["to_host"] if layout.gpu else rates["cpu_bandwidth"])
    words = f"copied into main memory: {size:,} B{split.shown}{often}; written beside in {size / disk:,.1f} s"
    return Term("checkpoint", copied / every, words)


def _peak(config: Config, gpu: Gpu | None, processes: int = 1) -> float:
    """FLOP/s of one device, or of one of the processes that share it; float32 is half as fast as bfloat16 (TF32)."""
    if gpu is None:
        return flops_per_thread() * max(1, min(config.runtime.threads, usable_cores()) // processes)
    return gpu.flops / (2 if config.model.dtype == "float32" else 1)


# --- before and after ---------------------------------------------------------------------------------------------


def _warm_start(config: Config, model: Model, lengths: Lengths, layout: Layout, rates: Rates) -> float:
    if not config.warm_start.enabled:
        return 0.0
    alone = replace(layout, split=Split(1, False, layout.split.device))
    share = warm_start.trajectories(config) / lengths.trajectories
    shown = replace(lengths, prompt=lengths.prompt * share, reply=lengths.reply * share)
    return _learn(config, warm_start.trained_model(model, config), shown, alone, rates).seconds


def _evaluated(config: Config) -> float:
    """Packs of all evaluations of a run but validations, in packs of the length that is trained on."""
    evaluation, families = config.evaluation, len(config.world.parts)
    if not evaluation.enabled:
        return 0
    arms = play_order(evaluation.arms)
    before = 2 if config.train.enabled else 0
    long = 2 * evaluation.long_length / config.world.length
    return evaluation.packs * families * (before + len(arms) + long)
