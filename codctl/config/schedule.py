"""The learning rate of a step, by the recipe alone."""

from __future__ import annotations

import math

from codctl.config.schema import TrainConfig


def learning_rate(config: TrainConfig, step: int) -> float:
    """Learning rate of a rollout step, counted from 1: a pure function, so a resumed run needs no schedule state."""
    if step <= config.lr_warmup_steps:
        return config.lr * step / config.lr_warmup_steps
    done = (step - 1 - config.lr_warmup_steps) / max(config.steps - config.lr_warmup_steps, 1)
    factors = {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}
    return config.lr * factors[config.lr_schedule]
