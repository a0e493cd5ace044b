"""How long an evaluation goes on with an engine that keeps failing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from codctl.cod.engine import Asker, Engine, EngineError, Generation, Sampling, Weights


@dataclass
class Patience:
    """An engine that is asked whether it still works after some failures in a row.

    A request may fail for its own sake (a prompt that is too long), and so may many in a row. Only the check tells this
    from a server that is gone.

    Attributes:
        engine: Makes the replies.
        check: Raises what should end the evaluation; returns when the engine works.
        failures: In a row, before it is asked.
    """

    engine: Engine
    check: Callable[[], Awaitable[None]]
    failures: int
    in_a_row: int = 0

    def take_seat(self) -> None:
        self.engine.take_seat()

    def leave_seat(self) -> None:
        self.engine.leave_seat()

    async def generate(self, prompt_ids: Sequence[int], sampling: Sampling, *, seed: int, asker: Asker) -> Generation:
        try:
            generation = await self.engine.generate(prompt_ids, sampling, seed=seed, asker=asker)
        except EngineError:
            self.in_a_row += 1
            if self.in_a_row >= self.failures:
                self.in_a_row = 0
                await self.check()
            raise
        self.in_a_row = 0
        return generation

    async def settle(self) -> None:
        """At the end of an evaluation: were its last failures, however few, those of a server that is gone?"""
        if self.in_a_row:
            self.in_a_row = 0
            await self.check()

    async def update_weights(self, weights: Weights) -> None:
        await self.engine.update_weights(weights)

    async def aclose(self) -> None:
        await self.engine.aclose()
