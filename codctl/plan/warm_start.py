"""What a warm start takes: memory, tokens, time. It is made by one process, whatever CoD-Train is spread over."""

from __future__ import annotations

from codctl.config.defaults import trains_adapters_from_the_start
from codctl.config.schema import Config, LossConfig
from codctl.engines.provider import Part
from codctl.plan import memory
from codctl.plan.lengths import Lengths
from codctl.plan.memory import Split
from codctl.plan.sizes import Model, find_model

NAME = "warm-start"


def trained_model(model: Model, config: Config) -> Model:
    """What the warm start trains: the adapters of CoD-Train, or all weights of a model that was built here."""
    if not model.adapter or trains_adapters_from_the_start(config):
        return model
    lora = config.model.lora.model_copy(update={"rank": 0})
    return find_model(config.model_copy(update={"model": config.model.model_copy(update={"lora": lora})}))


def parts(model: Model, config: Config, lengths: Lengths, device: str) -> list[Part]:
    """What lies in the memory of its process; micro-batches are those of CoD-Train."""
    # Without a KL penalty, and it waits for its checkpoints to be written.
    train = config.train.model_copy(update={"loss": LossConfig(), "checkpoint_beside": False})
    alone = config.model_copy(update={"train": train})
    return memory.learning(trained_model(model, config), Split(1, False, device), alone, lengths)


def trajectories(config: Config) -> int:
    """Demonstrated trajectories, each epoch counted."""
    return config.warm_start.packs * config.warm_start.epochs if config.warm_start.enabled else 0


def tokens(config: Config, lengths: Lengths) -> float:
    """Tokens that it reads, those of each epoch counted."""
    return trajectories(config) * lengths.tokens / lengths.trajectories


def steps(config: Config) -> int:
    """Optimiser steps."""
    episodes = config.warm_start.packs * (2 * config.world.length - 1)
    return config.warm_start.epochs * -(-episodes // config.warm_start.batch_rows)
