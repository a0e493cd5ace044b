"""The plan of a recipe, made without touching a model or a GPU: `codctl train RECIPE --dry-run`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from codctl.config.defaults import lr_warning
from codctl.config.schema import Config
from codctl.engines.provider import provider_of
from codctl.plan import lengths, memory, sizes, speed, teachers, warm_start
from codctl.plan.devices import Device, Layout, lay_out, uses_gpus
from codctl.plan.engines import context_of
from codctl.plan.hardware import find_gpu
from codctl.plan.lengths import Lengths
from codctl.plan.memory import micro_batch
from codctl.plan.rates import Rates, rates_for
from codctl.plan.sizes import Model
from codctl.plan.speed import Speed


@dataclass(frozen=True)
class Plan:
    """What a recipe takes. Bytes, seconds and tokens; estimates, each with its formula.

    Attributes:
        model: What learns.
        layout: Devices and what lies in them.
        lengths: Tokens of a step.
        speed: Time of a step.
        steps: Rollout steps.
        kept: Checkpoints on disk at the same time, the one that is being written included.
        host: Bytes of main memory that a node needs for a checkpoint that is written and for published weights.
        engine_lags: Whether the engine's weights may be older than the learner's.
        notes: What the reader has to know besides.
        warm_start_tokens: Tokens that the warm start reads; 0 without one.
        warm_start_steps: Its optimiser steps.
    """

    model: Model
    layout: Layout
    lengths: Lengths
    speed: Speed
    steps: int
    kept: int
    host: int
    engine_lags: bool
    notes: tuple[str, ...]
    warm_start_tokens: float = 0
    warm_start_steps: int = 0

    @property
    def full_devices(self) -> list[Device]:
        """Devices that would have to hold more than they can."""
        return [device for device in self.layout.devices if not device.fits]

    @property
    def gpus(self) -> int:
        """GPUs in use, on all nodes."""
        placed = self.layout.placement
        generating = placed.engine_nodes * sum(map(len, placed.engines)) if _is_apart(self) else 0
        scoring = sum(map(len, placed.teachers)) if "score" in [device.role for device in self.layout.devices] else 0
        return generating + placed.processes + scoring if self.layout.gpu else 0

    @property
    def hours(self) -> float:
        """Of the rollout steps."""
        return self.steps * self.speed.step / 3600

    @property
    def total_hours(self) -> float:
        """Warm start, rollout steps and evaluations."""
        return self.hours + (self.speed.warm_start + self.speed.evaluation) / 3600

    @property
    def disk(self) -> int:
        """Bytes of checkpoints, some with the weights that the engine held, and of the trained model."""
        each = self.model.checkpoint_bytes + (self.model.published_bytes if self.engine_lags else 0)
        return self.kept * each + self.model.published_bytes

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        layout = self.layout
        return {
            "estimate": True,
            "model": {**asdict(self.model), "parameters": self.model.shape.parameters},
            "gpu": asdict(layout.gpu) if layout.gpu else None,
            "placement": asdict(layout.placement),
            "learner": asdict(layout.split),
            "devices": [{**asdict(device), "need": device.need, "fits": device.fits} for device in layout.devices],
            "kv_cache": {**asdict(layout.room), "sequences": layout.room.sequences} if layout.room else None,
            "tokens": {**asdict(self.lengths), "expected": self.lengths.tokens},
            "step": asdict(self.speed),
            "warm_start": {"tokens": self.warm_start_tokens, "steps": self.warm_start_steps},
            "steps": self.steps,
            "hours": self.hours,
            "gpu_hours": self.hours * self.gpus,
            "total_hours": self.total_hours,
            "disk": {"checkpoint": self.model.checkpoint_bytes, "kept": self.kept, "bytes": self.disk},
            "host": self.host,
            "notes": list(self.notes),
        }


def make_plan(config: Config, main_memory: int = 0, own_rates: Mapping[str, Any] | None = None) -> Plan:
    """Work out what a recipe takes. Needs no GPU, no network and no weights.

    Args:
        config: Recipe.
        main_memory: Bytes of the machine that it is for, where that runs on a CPU; 0 when it is not known.
        own_rates: Figures in the place of those of `rates`.

    Raises:
        UsageError: A figure that there is not.
        PreflightError: The model's shape is not known here, or more is to be placed than there is.
    """
    return plan_of(config, known_of(config, own_rates), main_memory)


@dataclass(frozen=True)
class Known:
    """What does not depend on how a recipe is laid out.

    Attributes:
        model: What learns.
        lengths: Tokens of a step.
        rates: Assumed and measured speeds.
    """

    model: Model
    lengths: Lengths
    rates: Rates


def known_of(config: Config, own_rates: Mapping[str, Any] | None = None) -> Known:
    """See `make_plan`."""
    gpu = find_gpu(config.cluster) if uses_gpus(config) else None
    rates = rates_for(gpu.kind if gpu else None, own_rates)
    model = sizes.find_model(config)
    return Known(model, lengths.measure(config, context_of(config, model), rates["reply_spread"]), rates)


def plan_of(config: Config, known: Known, main_memory: int = 0) -> Plan:
    """As `make_plan`, with what is known already."""
    model, tokens = known.model, known.lengths
    layout = lay_out(config, model, tokens, main_memory)
    time = speed.estimate(config, model, tokens, layout, known.rates)
    return Plan(
        model,
        layout,
        tokens,
        time,
        config.train.steps if config.train.enabled else 0,
        _checkpoints(config) + 1,
        _host(config, model, layout) + (memory.total(teachers.lessons(config, model, tokens)) if layout.gpu else 0),
        config.engine.lags,
        (*_notes(config, layout, tokens), *_slow_disk(config, model, time, known.rates)),
        warm_start.tokens(config, tokens),
        warm_start.steps(config) if config.warm_start.enabled else 0,
    )


def _checkpoints(config: Config) -> int:
    """How many are kept at the end."""
    train = config.train
    written = -(-train.steps // train.checkpoint_every)
    return min(written, train.checkpoints_kept or written)


def _host(config: Config, model: Model, layout: Layout) -> int:
    """Two versions of published weights lie in memory, what a sleeping engine keeps, and a checkpoint being written."""
    copied = 0
    if layout.gpu and config.train.checkpoint_beside:
        copied = model.checkpoint_bytes // (layout.placement.nodes if layout.split.sharded else 1)
    if provider_of(config).in_process:
        return copied
    handed = 0 if config.engine.weights_dir else 2 * model.published_bytes
    asleep = len(layout.placement.engines) if config.engine.placement == "colocate" else 0
    return copied + handed + asleep * model.number * model.shape.parameters


def _notes(config: Config, layout: Layout, tokens: Lengths) -> list[str]:
    found = []
    budget = micro_batch(config, tokens)
    if tokens.longest_row > budget:
        found.append(
            f"a row may reach {tokens.longest_row:,} tokens where every budget is used up; planned with {budget:,}. "
            "engine.max_tokens bounds it"
        )
    if layout.room and not provider_of(config).in_process and 0 < layout.room.tokens < 4 * layout.room.context:
        found.append(
            f"the KV cache of an engine holds {layout.room.sequences} sequences of {layout.room.context:,} tokens"
        )
    if warning := lr_warning(config):
        found.append(warning)
    return found


def _slow_disk(config: Config, model: Model, time: Speed, rates: Rates) -> list[str]:
    every = config.train.checkpoint_every
    written = model.checkpoint_bytes / rates["disk"]
    if written <= every * time.step:
        return []
    return [
        f"a checkpoint takes {written:,.0f} s to write, longer than the {every * time.step:,.0f} s until the next one: "
        "train.checkpoint_every"
    ]


def _is_apart(plan: Plan) -> bool:
    roles = [device.role for device in plan.layout.devices]
    return "generate" in roles
