"""The model of a deployment: codctl's own engine, or a server, behind the model proxy."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from codctl.agents.program import WINDOW
from codctl.cod.agent import Agent
from codctl.cod.conversation import TemplateChat
from codctl.cod.engine import Sampling
from codctl.cod.settings import RolloutSettings
from codctl.config.evalspec import EvalSpec
from codctl.errors import UsageError

if TYPE_CHECKING:
    from codctl.agents.proxy.models import ChatModel
    from codctl.cod.rollout import Player
    from codctl.engines.openai.settings import EndpointSettings
    from codctl.evaluate.subject import PolicyUnderTest

_MOST_TOKENS = 4_096  # of one reply, unless the user says so
_MOST_WINDOW = 10**9
_SEED = 0
_DEADLINE_S = 3_600.0  # of one reply: a slow machine may take long over an agent's prompt


@dataclass(frozen=True)
class Sampled:
    """How replies to the agent are sampled.

    Attributes:
        max_tokens: Of one reply; None for a quarter of what the model reads, and 4,096 at most.
        temperature: None for that of the training.
    """

    max_tokens: int | None = None
    temperature: float | None = None


@dataclass(frozen=True)
class Deployed:
    """A model that is ready to answer.

    Attributes:
        chat: Behind the proxy.
        updates: The same model for updates, with their token limit.
        settings: How its updates are written and read.
        window: Tokens that it reads at most.
        max_tokens: Of one reply.
    """

    chat: ChatModel
    updates: ChatModel
    settings: RolloutSettings
    window: int
    max_tokens: int


def usual_tokens(window: int) -> int:
    """Most tokens of a reply, where nobody says how many."""
    return min(_MOST_TOKENS, window // 4)


def spec_of(subject: PolicyUnderTest) -> EvalSpec:
    """How the subject was trained to be asked: rendering and budgets."""
    from codctl.evaluate.subject import training_defaults

    known = training_defaults(subject).defaults
    return EvalSpec(**{key: value for key, value in known.items() if key in EvalSpec.model_fields})


@contextlib.asynccontextmanager
async def opened(subject: PolicyUnderTest, log: Path, spec: EvalSpec) -> AsyncIterator[Player]:
    """The subject, ready to be asked; what it needs is started, and ended afterwards.

    Raises:
        CodctlError: It cannot be loaded or reached.
    """
    from codctl.evaluate.subject import open_runner

    if subject.kind == "policy":
        raise UsageError("a scripted policy plays codctl's worlds and nothing else", hint="name a run or a model")
    runner = open_runner(subject, log)
    try:
        if runner.check:
            await runner.check()
        yield runner.player(spec)
    finally:
        if runner.close:
            await runner.close()


@contextlib.asynccontextmanager
async def deployed(subject: PolicyUnderTest, log: Path, sampled: Sampled) -> AsyncIterator[Deployed]:
    """The model of a subject for an agent program, as long as the block lasts.

    Raises:
        CodctlError: It cannot be loaded or reached.
    """
    async with contextlib.AsyncExitStack() as stack:
        player = await stack.enter_async_context(opened(subject, log, spec_of(subject)))
        settings, window = player.settings, window_of(subject) or WINDOW
        most = sampled.max_tokens or usual_tokens(window)
        temperature = settings.temperature if sampled.temperature is None else sampled.temperature
        make = _of_server(subject.endpoint, stack) if subject.endpoint else _of_engine(player)
        yield Deployed(
            make(Sampling(most, temperature, top_p=settings.top_p)),
            make(Sampling(settings.update_tokens, settings.temperature, top_p=settings.top_p)),
            settings,
            window,
            most,
        )


def _of_server(settings: EndpointSettings, stack: contextlib.AsyncExitStack) -> Callable[[Sampling], ChatModel]:
    from codctl.agents.proxy.endpoint_model import EndpointModel
    from codctl.engines.openai.engine import open_endpoint

    engine, _ = open_endpoint(settings)
    stack.push_async_callback(engine.aclose)
    return lambda sampling: EndpointModel(engine, sampling, seed=_SEED)


def _of_engine(player: Player) -> Callable[[Sampling], ChatModel]:
    from codctl.agents.proxy.engine_model import EngineModel

    engine, chat = player.engine, player.chat
    assert isinstance(chat, TemplateChat)  # models of codctl's own have one, and an engine
    assert not isinstance(engine, Agent)

    def make(sampling: Sampling) -> ChatModel:
        return EngineModel(engine, chat, sampling, seed=_SEED, deadline_s=_DEADLINE_S, requests=player.requests)

    return make


def window_of(subject: PolicyUnderTest) -> int | None:
    """Tokens that the model reads at most, prompt and reply together; None of a server's, which does not say it."""
    if subject.folder is None:
        return None
    from codctl.models.architectures import of_folder
    from codctl.models.load import base_folder

    return min(of_folder(base_folder(subject.folder)).max_tokens, subject.settings.engine.max_tokens or _MOST_WINDOW)
