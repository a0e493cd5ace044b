"""What the rollout asks of an inference engine: token ids in, token ids and log-probs out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from codctl.envs.base import Situation


@dataclass(frozen=True)
class Sampling:
    """How one reply is sampled.

    Attributes:
        max_new_tokens: Most tokens in the reply, the stop token included.
        temperature: Divides the logits; log-probs are those of the scaled distribution.
        stop_ids: Any of these ends the reply and is its last token.
    """

    max_new_tokens: int
    temperature: float = 1.0
    stop_ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class Generation:
    """One sampled reply.

    Attributes:
        token_ids: With the stop token, if one was sampled.
        logprobs: Of each token under the distribution it was drawn from.
        finish_reason: `stop`, or `length` when the budget or the context window ended it.
        weight_version: Of the weights that sampled it.
    """

    token_ids: list[int]
    logprobs: list[float]
    finish_reason: Literal["stop", "length"]
    weight_version: int


@dataclass(frozen=True)
class Asker:
    """Who asks. Scripted engines act on it, messages name it; a model never sees it."""

    kind: Literal["solve", "update"]
    situation: Situation


class EngineError(RuntimeError):
    """A reply could not be made. The episode is recorded as failed, the run goes on."""


class Engine(Protocol):
    """A batching inference engine. Callers ask for one reply each; the engine decides what runs together."""

    def take_seat(self) -> None:
        """A trajectory begins: the engine may wait for its next request before it runs a batch."""

    def leave_seat(self) -> None:
        """A trajectory ended: nothing more will come from it."""

    async def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, seed: int, asker: Asker
    ) -> Generation: ...

    def update_weights(self, version: int) -> None:
        """The weights changed: forget all that was computed with the old ones."""

    async def aclose(self) -> None: ...
