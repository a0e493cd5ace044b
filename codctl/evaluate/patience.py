"""How long an evaluation goes on with a model that keeps failing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from codctl.cod.agent import Agent
from codctl.cod.engine import EngineError, Generation, RequestTag, Sampling
from codctl.envs.base import PolicyView


@dataclass
class CircuitBreaker(Agent):
    """An agent that is asked whether it still works after some failures in a row.

    A request may fail for its own sake (a prompt that is too long), and so may many in a row. Only the check tells this
    from a server that is gone.

    Attributes:
        agent: Makes the replies.
        check: Raises what should end the evaluation; returns when the agent works.
        failures: In a row, before it is asked.
    """

    agent: Agent
    check: Callable[[], Awaitable[None]]
    failures: int
    in_a_row: int = 0

    def open_session(self) -> None:
        self.agent.open_session()

    def close_session(self) -> None:
        self.agent.close_session()

    async def reply(
        self, view: PolicyView, prompt_ids: Sequence[int], sampling: Sampling, *, seed: int, tag: RequestTag
    ) -> Generation:
        try:
            generation = await self.agent.reply(view, prompt_ids, sampling, seed=seed, tag=tag)
        except EngineError:
            self.in_a_row += 1
            if self.in_a_row >= self.failures:
                await self.final_check()
            raise
        self.in_a_row = 0
        return generation

    async def final_check(self) -> None:
        """Were the last failures, however few, those of a server that is gone?"""
        if self.in_a_row:
            self.in_a_row = 0
            await self.check()
