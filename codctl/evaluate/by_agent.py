"""A subject inside an agent program: its player with the program between model and world."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from codctl.agents.performer import AgentPerformer
from codctl.agents.places import remove_left_behind
from codctl.agents.program import PROGRAMS, WINDOW
from codctl.agents.proxy.answer import AnswerModel
from codctl.agents.proxy.endpoint_model import EndpointModel
from codctl.agents.proxy.engine_model import EngineModel
from codctl.agents.proxy.models import ChatModel
from codctl.agents.proxy.server import ModelProxy
from codctl.agents.setup import AgentSetup
from codctl.cod.agent import Agent
from codctl.cod.attempt import Attempt
from codctl.cod.conversation import TemplateChat
from codctl.cod.engine import RequestTag, Sampling
from codctl.cod.rollout import Player
from codctl.cod.trajectory import Kind
from codctl.config.evalspec import EvalSpec
from codctl.envs.base import PolicyView
from codctl.errors import UsageError

if TYPE_CHECKING:
    from codctl.engines.openai.engine import OpenAIEngine
    from codctl.evaluate.subject import PolicyRunner

_MOST_AT_ONCE = 4


def default_concurrency() -> int:
    """Sessions at once: a program takes a core while it starts, and up to a gigabyte."""
    return max(1, min(_MOST_AT_ONCE, os.cpu_count() or 1))


def inside(setup: AgentSetup, runner: PolicyRunner, folder: Path, parts: Sequence[EvalSpec]) -> PolicyRunner:
    """The runner of a subject, played by an agent program.

    Args:
        setup: Which program, and how it plays.
        runner: Of the subject.
        folder: Of the evaluation.
        parts: What will be played.
    """
    program, stack, proxies = PROGRAMS.get(setup.name), AsyncExitStack(), list[ModelProxy]()

    async def check() -> None:
        if runner.check:
            await runner.check()
        remove_left_behind()
        proxies.append(await stack.enter_async_context(ModelProxy.open()))

    async def close() -> None:
        await stack.aclose()
        if runner.close:
            await runner.close()

    def player(spec: EvalSpec) -> Player:
        found = runner.player(spec)
        models = AnswerModels() if setup.protocol == "answer" else ToolModels(found, runner.server)
        part = spec.name.replace("/", "-") if len(parts) > 1 else ""
        return replace(found, performer=AgentPerformer(program, setup, proxies[0], folder, models, part=part))

    return replace(runner, player=player, at_once=setup.concurrency, retries_failed=True, check=check, close=close)


class AnswerModels:
    """The model is shown its training form."""

    context_window = WINDOW

    def solving(self, attempt: Attempt, seed: int) -> ChatModel:
        return AnswerModel(attempt)

    def updating(self, view: PolicyView, rollout: int, seed: int) -> ChatModel:
        raise UsageError("a model that is shown its training form never sees an agent's memory")


@dataclass(frozen=True)
class ToolModels:
    """The model reads what the agent writes.

    Attributes:
        player: That it would play with in codctl's own loop.
        server: Where it is behind one.
    """

    player: Player
    server: OpenAIEngine | None = None
    context_window: int = WINDOW

    def solving(self, attempt: Attempt, seed: int) -> ChatModel:
        return self._made(attempt.view, attempt.rollout, seed, "solve")

    def updating(self, view: PolicyView, rollout: int, seed: int) -> ChatModel:
        return self._made(view, rollout, seed, "update")

    def _made(self, view: PolicyView, rollout: int, seed: int, kind: Kind) -> ChatModel:
        player, settings, chat = self.player, self.player.settings, self.player.chat
        most = settings.solve_tokens if kind == "solve" else settings.update_tokens
        sampling = Sampling(most, settings.temperature, chat.stop_ids, settings.top_p)
        tag = RequestTag(view.pack.id, rollout, view.position, 0, kind)
        if self.server:
            return EndpointModel(self.server, sampling, seed=seed, tag=tag)
        assert isinstance(chat, TemplateChat)  # only models of codctl have an engine
        assert not isinstance(player.engine, Agent)
        return EngineModel(
            player.engine,
            chat,
            sampling,
            seed=seed,
            deadline_s=settings.deadline_s,
            tag=tag,
            requests=player.requests,
        )
