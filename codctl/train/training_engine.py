"""The engine that a training samples with: the learner's own model, a copy of it, or vLLM."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from codctl.cod.engine import MeteredEngine
from codctl.config.schema import Config
from codctl.models.models import base_folder, load_model, with_adapters
from codctl.models.trainable import autocast_type
from codctl.plan.placement import place
from codctl.seeds import derive_seed
from codctl.train.setup import Speaker, learner_bytes, make_engine

if TYPE_CHECKING:
    from codctl.cod.conversation import TemplateChat
    from codctl.learner.group import LearnerGroup


class Turns(Protocol):
    """An engine on the learner's GPUs: they have their memory in turns."""

    async def sleep(self) -> None: ...

    async def wake(self) -> None: ...


@dataclass(frozen=True)
class TrainingEngine:
    """An engine and what a training must know of it.

    Attributes:
        engine: Has the weights that the training starts from.
        apart: Whether it has weights of its own. If not, it samples with the learner's model.
        turns: The same engine, where it must leave the GPUs before the learner goes on.
    """

    engine: MeteredEngine
    apart: bool
    turns: Turns | None = None


async def open_engine(
    config: Config, group: LearnerGroup, start: Path, tokenizer: object, chat: TemplateChat, log: Path
) -> TrainingEngine:
    """Start the engine of a recipe.

    Args:
        config: Recipe.
        group: The learner.
        start: Folder that the training starts from.
        tokenizer: Of the model.
        chat: Likewise.
        log: Where an engine of other processes writes.
    """
    if config.engine.kind == "vllm":
        from codctl.engines.vllm import open_vllm

        gpus = place(config).engines
        vllm = open_vllm(config, start, engines=gpus, log=log, base=base_folder(start))
        try:
            await vllm.start()
        except BaseException:
            await vllm.aclose()
            raise
        return TrainingEngine(vllm, True, vllm if gpus and config.engine.placement == "colocate" else None)
    apart = config.engine.lags or group.model is None
    model = group.model
    if apart:
        model = load_model(start, config.model.dtype, config.model.device)
        if config.model.lora.rank:
            model = with_adapters(model, config.model.lora, derive_seed(config.seed, "lora")).eval()
    speaker, autocast = Speaker(model, tokenizer, chat), autocast_type(config.model.dtype)
    engine = make_engine(
        speaker, config.runtime.max_batch, autocast, beside=0 if apart else learner_bytes(config.train.loss)
    )
    return TrainingEngine(engine, apart)
