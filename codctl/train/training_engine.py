"""The engine that a training samples with: the learner's own model, a copy of it, or one beside the learner."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from codctl.config.schema import Config
from codctl.engines.provider import OpenEngine, Opening, provider_of
from codctl.models.load import autocast_type, base_folder, load_model, with_adapters
from codctl.plan.placement import place
from codctl.seeds import derive_seed
from codctl.train.setup import Speaker, learner_bytes, open_in_process

if TYPE_CHECKING:
    from codctl.cod.conversation import TemplateChat
    from codctl.engines.nodes.client import Address
    from codctl.learner.group import LearnerGroup


@dataclass(frozen=True)
class TrainingEngine:
    """An engine and what a training must know of it.

    Attributes:
        engine: Has the weights that the training starts from.
        apart: Whether it has weights of its own. If not, it samples with the learner's model.
        shares_gpus: Whether it must leave the GPUs before the learner goes on.
    """

    engine: OpenEngine
    apart: bool
    shares_gpus: bool = False


async def open_engine(
    config: Config,
    group: LearnerGroup,
    start: Path,
    tokenizer: object,
    chat: TemplateChat,
    log: Path,
    elsewhere: Callable[[], Sequence[Address]] = tuple,
) -> TrainingEngine:
    """Start the engine of a recipe.

    Args:
        config: Recipe.
        group: The learner.
        start: Folder that the training starts from.
        tokenizer: Of the model.
        chat: Likewise.
        log: Where an engine of other processes writes.
        elsewhere: Finds the engines of other nodes.
    """
    if provider_of(config).in_process:
        opened = _in_process(config, group, start, tokenizer, chat)
    else:
        from codctl.engines.nodes.client import open_on_nodes

        gpus = place(config).engines
        beside = open_on_nodes(Opening(config, start, base_folder(start), gpus, log), elsewhere())
        opened = TrainingEngine(beside, True, bool(gpus) and config.engine.placement == "colocate")
    try:
        await opened.engine.start()
    except BaseException:
        await opened.engine.aclose()
        raise
    return opened


def _in_process(
    config: Config, group: LearnerGroup, start: Path, tokenizer: object, chat: TemplateChat
) -> TrainingEngine:
    apart = config.engine.lags or group.model is None
    model = group.model
    if apart:
        model = load_model(start, config.model.dtype, config.model.device)
        if config.model.lora.rank:
            model = with_adapters(model, config.model.lora, derive_seed(config.seed, "lora")).eval()
    speaker, autocast = Speaker(model, tokenizer, chat), autocast_type(config.model.dtype)
    beside = 0 if apart else learner_bytes(config.train.loss)
    return TrainingEngine(open_in_process(config, speaker, autocast, beside=beside), apart)
