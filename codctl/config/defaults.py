"""Values that follow from other settings of a recipe."""

from __future__ import annotations

import math

from codctl.config.schema import Config, TrainConfig

TURN_PENALTY = 0.1  # the usual price of a whole turn budget, `Family.turn_penalty`
BUILT_LR, ADAPTER_LR, FULL_LR = 2e-3, 2e-4, 2e-5

_TOO_HIGH = 10.0  # times the default


def is_pretrained(config: Config) -> bool:
    """Whether the training starts from weights that codctl did not make."""
    return config.model.path is not None and config.model.init == "weights"


def warm_start_lr(config: Config) -> float:
    """Learning rate of the warm start: `warm_start.lr`, or what suits the weights that it trains."""
    if config.warm_start.lr is not None:
        return config.warm_start.lr
    if not is_pretrained(config):
        return BUILT_LR
    return ADAPTER_LR if config.model.lora.rank else FULL_LR


def lr_warning(config: Config) -> str:
    """What to know about a learning rate that would destroy a pretrained model; empty for one that would not."""
    if not config.warm_start.enabled or not is_pretrained(config):
        return ""
    lr, kind = warm_start_lr(config), f"LoRA rank {config.model.lora.rank}" if config.model.lora.rank else "all weights"
    usual = ADAPTER_LR if config.model.lora.rank else FULL_LR
    if lr < _TOO_HIGH * usual:
        return ""
    return (
        f"warm_start.lr={lr:g} is {lr / usual:.0f} times what is usual for a pretrained model ({kind}: {usual:g}); "
        "it may forget its language"
    )


def trains_adapters_from_the_start(config: Config) -> bool:
    """Whether the warm start trains the LoRA adapters that CoD-Train goes on with.

    Weights that were built here know nothing yet: all of them are trained first, and the adapters are put on the
    result.
    """
    return config.model.lora.rank > 0 and is_pretrained(config)


def learning_rate(config: TrainConfig, step: int) -> float:
    """Learning rate of a rollout step, counted from 1: a pure function, so a resumed run needs no schedule state."""
    if step <= config.lr_warmup_steps:
        return config.lr * step / config.lr_warmup_steps
    done = (step - 1 - config.lr_warmup_steps) / max(config.steps - config.lr_warmup_steps, 1)
    factors = {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}
    return config.lr * factors[config.lr_schedule]
