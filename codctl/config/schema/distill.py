"""Distillation: which teachers a student learns from while it plays, and how."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from codctl.config.schema.fields import Section, added, resource, training


class TeacherConfig(Section):
    families: Annotated[tuple[str, ...], Field(strict=False)] = training(
        (), "Families of worlds that it teaches.", min_length=1
    )
    model: str = training("", "Its weights: a run, RUN@STEP, a folder or a hub id.", min_length=1)
    revision: str | None = training(None, "Commit or tag of a hub id; null is its newest.")


class MixConfig(Section):
    distill: float = added(1.0, "Weight of the distillation loss.", gt=0, le=1000)
    reward: float = added(0.0, "Weight of CoD-Train's own loss; above 0 it needs train.rollouts ≥ 2.", ge=0, le=1000)


class DistillConfig(Section):
    """What `train` learns from where there are teachers; steps, packs and learning rate stay in `train`."""

    teachers: Annotated[tuple[TeacherConfig, ...], Field(strict=False)] = added(
        (), "One teacher for each family of the training; none: no distillation."
    )
    estimator: Literal["sampled", "full", "topk"] = added(
        "sampled",
        "Of the reverse KL at each sampled token: of this token alone, over the whole vocabulary (small ones), or over "
        "the teacher's likeliest tokens, the sampled one and the rest as one.",
    )
    top_k: int = added(16, "estimator=topk: how many of the teacher's likeliest tokens.", ge=1, le=1024)
    weight: Literal["none", "ratio"] = added(
        "none", "estimator=sampled: `ratio` multiplies by π / π_sampler, for rows that older weights sampled."
    )
    clamp: float = added(20.0, "Bound on |log π_teacher − log π|.", gt=0, le=1000)
    kinds: Annotated[tuple[Literal["solve", "update"], ...], Field(strict=False)] = added(
        ("solve", "update"), "Kinds of episodes that are distilled.", min_length=1
    )
    domain_scale: Literal["none", "std"] = added(
        "none",
        "`std` multiplies a family's loss by the standard deviation of all log-ratios over that of its own, "
        "within 1/4 and 4.",
    )
    mix: MixConfig = Field(default_factory=MixConfig, description="What is learned from, beside each other.")
    engine: Literal["same", "transformers", "vllm"] = resource(
        "same", "Engine of the teachers: that of engine.kind, or another one."
    )
    gpus: int = resource(
        0, "GPUs of the first node for vLLM teachers alone; 0: those of the learner, in turns.", ge=0, le=64
    )
    tensor_parallel: int = resource(1, "GPUs of one engine of a teacher (vllm).", ge=1, le=64)
    take_turns: bool = resource(
        False,
        "Load a teacher of the transformers engine for its rows and let go of it, so that one is there at a time.",
    )
