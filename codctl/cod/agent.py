"""Who replies in an episode: a model through an engine, a scripted policy, a person."""

from __future__ import annotations

from collections.abc import Sequence

from codctl.cod.engine import Engine, Generation, RequestTag, Sampling
from codctl.envs.base import PolicyView


class Agent:
    """Base of all that may look at the world while it plays or shows what is played. An `Engine` never does."""

    def open_session(self) -> None:
        """A trajectory begins."""

    def close_session(self) -> None:
        """A trajectory ended."""

    async def reply(
        self, view: PolicyView, prompt_ids: Sequence[int], sampling: Sampling, *, seed: int, tag: RequestTag
    ) -> Generation:
        """One reply; EngineError when there is none."""
        raise NotImplementedError


class Model(Agent):
    """A model behind an engine, which is told nothing of the world but the prompt."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def open_session(self) -> None:
        self._engine.open_session()

    def close_session(self) -> None:
        self._engine.close_session()

    async def reply(
        self, view: PolicyView, prompt_ids: Sequence[int], sampling: Sampling, *, seed: int, tag: RequestTag
    ) -> Generation:
        return await self._engine.generate(prompt_ids, sampling, seed=seed, tag=tag)


def agent_of(who: Engine | Agent) -> Agent:
    """An engine as an agent; an agent as it is."""
    return who if isinstance(who, Agent) else Model(who)
