"""Warm start and CoD-Train: demonstrations, steps, rewards, credit and loss."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from codctl.config.registries import CREDITS, LOSSES, NameIn
from codctl.config.schema.fields import MOST_SECONDS, MOST_STEPS, Section, added, classed, resource, training

_Beta = Annotated[float, Field(ge=0, lt=1)]


class WarmStartConfig(Section):
    enabled: bool = training(True, "Run SFT on demonstrations before CoD-Train.")
    demonstrations: str | None = added(
        None, "Folder that `codctl env demonstrate` wrote; null plays the family's scripted demonstrator."
    )
    scripted_share: float = added(
        0.0, "With a folder: share of the episodes that the scripted demonstrator adds.", ge=0, le=0.99
    )
    packs: int = training(1500, "Packs of demonstrations, the most where there is a folder.", ge=1, le=1_000_000)
    epochs: int = training(1, "Passes over the demonstrations.", ge=1, le=1000)
    batch_rows: int = training(64, "Episodes per optimiser step.", ge=1, le=100_000)
    lr: float | None = training(
        None,
        "Learning rate, falling to 0 over the last third; null: 2e-3 for a model that codctl builds, and for a "
        "pretrained one 2e-4 with LoRA, else 2e-5.",
        gt=0,
        le=1,
    )
    trainer: Literal["codctl", "trl"] = added(
        "codctl", "What makes the optimiser steps: codctl's learner, or TRL's SFTTrainer (slower on short rows)."
    )
    keep_fact: float = training(0.35, "Probability that a demonstrated update keeps a fact it knows.", ge=0, le=1)
    wrong_fact: float = training(0.1, "Probability that a demonstrated update adds a wrong fact.", ge=0, le=1)
    checkpoint_s: float = resource(
        120.0, "Seconds between sealed checkpoints of the warm start.", ge=0, le=MOST_SECONDS
    )


class RewardConfig(Section):
    turn_penalty: float | None = training(
        None,
        "Shaping: a positive reward is less this × turns used / turn budget; null: each family's own (0.1 or 0). A "
        "number leaves families alone whose turns cost nothing.",
        ge=0,
        le=1,
    )


class CreditConfig(Section):
    returns: Annotated[str, NameIn(CREDITS)] = training(
        "mean_to_go", "How rewards become returns; the first three as published."
    )
    baseline: Literal["mean", "leave_one_out"] = added(
        "mean", "What returns are compared with: the mean of the group, or of its other rollouts (RLOO)."
    )
    window: int = training(2, "Rewards in the sliding window (returns=window, window_of_tasks).", ge=1, le=64)
    discount: float = training(0.9, "Discount per position (returns=discounted, discounted_tasks).", ge=0, le=1)
    scale_by_std: bool = training(False, "Divide advantages by the group's standard deviation.")
    options: dict[str, str | int | float | bool] = added({}, "Further settings of a return rule of your own.")


class LossConfig(Section):
    kind: Annotated[str, NameIn(LOSSES)] = training(
        "rec", "`rec` (paper: no importance weight, one-sided bound), `grpo`, `gspo`, `cispo`, or a loss of your own."
    )
    clip: float = training(0.2, "Bound on the ratio to the sampling policy.", gt=0, lt=1)
    clip_high: float | None = added(None, "Bound above the ratio 1; null is `clip`.", gt=0, le=1000)
    kl: float = added(0.0, "Weight of the KL penalty to the model that CoD-Train starts from.", ge=0, le=1000)
    reference: bool = added(False, "Give the loss that model's log-probs even where kl is 0; for a loss of your own.")
    options: dict[str, str | int | float | bool] = added({}, "Further settings of a loss of your own.")
    red: bool = training(True, "RED weights: rescale advantages when their token-weighted sum is negative.")
    mean: Literal["token", "episode"] = training("token", "Average over tokens, or over episodes of token means.")

    @property
    def needs_reference(self) -> bool:
        """Whether the learner keeps a copy of the start model's trained weights."""
        return self.kl > 0 or self.reference


class TrainConfig(Section):
    enabled: bool = training(True, "Run CoD-Train.")
    steps: int = classed("length", 100, "Rollout steps.", ge=0, le=MOST_STEPS)
    packs: int = training(16, "Packs per rollout step.", ge=1, le=10_000)
    rollouts: int = training(8, "Rollouts G per pack (the group).", ge=1, le=1024)
    optimizer_steps: int = training(1, "Optimiser steps per rollout step.", ge=1, le=1000)
    lr: float = training(1e-6, "Peak learning rate.", gt=0, le=1)
    lr_schedule: Literal["constant", "linear", "cosine"] = training(
        "constant", "Shape of the learning rate after warm-up."
    )
    lr_warmup_steps: int = training(0, "Rollout steps over which the learning rate rises.", ge=0, le=MOST_STEPS)
    betas: Annotated[tuple[_Beta, _Beta], Field(strict=False)] = training((0.9, 0.999), "AdamW betas.")
    weight_decay: float = training(0.0, "AdamW weight decay.", ge=0, le=10)
    grad_clip: float | None = training(1.0, "Largest gradient norm; null does not clip.", ge=1e-6, le=1e6)
    micro_batch_tokens: int = resource(
        8192, "Token budget of a learner micro-batch, padding included.", ge=64, le=100_000_000
    )
    logprob_chunk: int = resource(
        4096, "Sampled tokens of a micro-batch whose logits exist at the same time.", ge=1, le=100_000_000
    )
    split_long_rows: bool = resource(
        False,
        "All learner processes compute a row longer than micro_batch_tokens together, each a part of its tokens; needs "
        "model.attention=varlen.",
    )
    activation_checkpointing: bool = resource(
        False, "Compute activations again in the backward pass instead of keeping them."
    )
    strategy: Literal["auto", "ddp", "fsdp"] = resource(
        "auto", "Several learner processes: full copies (ddp) or shards (fsdp); auto shards full fine-tunes."
    )
    checkpoint_every: int = resource(10, "Steps between sealed checkpoints.", ge=1, le=MOST_STEPS)
    checkpoints_kept: int | None = resource(
        2,
        "How many of the newest checkpoints are kept; null keeps all. A warm start keeps two at most.",
        ge=1,
        le=MOST_STEPS,
    )
    checkpoint_beside: bool = resource(
        True, "Write checkpoints beside the training, from a copy in main memory; false makes the training wait."
    )
    reward: RewardConfig = Field(default_factory=RewardConfig, description="Shaping of the solve reward.")
    credit: CreditConfig = Field(default_factory=CreditConfig, description="Returns and advantages.")
    loss: LossConfig = Field(default_factory=LossConfig, description="Policy loss.")
