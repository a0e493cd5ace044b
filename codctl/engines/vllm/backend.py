"""What the engine asks of one replica of the model, however it is reached."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from codctl.cod.engine import LostError, Sampling, Scores, Sender


@dataclass(frozen=True)
class Loaded:
    """Weights as replicas know them.

    Attributes:
        serial: Grows with every change of weights; names adapters and salts the prefix cache.
        version: Of the learner.
        folder: Full weights or adapter; None for those that the replica was started with.
        is_adapter: Whether the folder is a PEFT adapter's.
        name: Of this run's weights with this serial, unlike that of any other.
        sender: Has them in memory, for as long as `VllmEngine.update_weights` runs.
    """

    serial: int
    version: int
    folder: Path | None
    is_adapter: bool
    name: str
    sender: Sender | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Ask:
    """One reply, asked of one replica.

    Attributes:
        prompt_ids: Token ids.
        sampling: How.
        budget: Most new tokens, with what the window leaves.
        seed: In [0, 2**63).
        loaded: With which weights.
    """

    prompt_ids: list[int]
    sampling: Sampling
    budget: int
    seed: int
    loaded: Loaded


@dataclass(frozen=True)
class Reply:
    """What came back. `cached_tokens` of the prompt were found in the prefix cache."""

    token_ids: list[int]
    logprobs: list[float]
    finish_reason: Literal["stop", "length"]
    cached_tokens: int


@dataclass(frozen=True)
class Rating:
    """Scores of one row, asked of one replica.

    Attributes:
        ids: Token ids.
        places: Of the tokens that are wanted; never 0.
        top: How many of the likeliest tokens are wanted beside them.
        loaded: With which weights.
    """

    ids: list[int]
    places: list[int]
    top: int
    loaded: Loaded


class ForgottenError(LostError):
    """The replica answers, but no longer knows the weights: it was started again from outside."""


class Backend(Protocol):
    """One replica of the model.

    Attributes:
        name: In messages.
        max_tokens: Longest sequence; known after `start`.
    """

    name: str
    max_tokens: int

    async def start(self) -> None:
        """Make it ready, with the weights that it starts with; BackendError when that cannot be."""

    async def ask(self, ask: Ask) -> Reply:
        """One reply; cancelling it ends it there. LostError: see there. EngineError: this request has no answer."""

    async def score(self, rating: Rating) -> Scores:
        """Scores of one row, with errors as of `ask`."""

    async def load(self, loaded: Loaded) -> None:
        """Take weights and forget what was computed with others; LostError when that fails."""

    async def is_well(self) -> bool:
        """Whether it answers at all, within seconds."""

    async def ended(self) -> str:
        """Return the reason when it has ended by itself; wait forever where that cannot be seen."""

    async def sleep(self) -> None:
        """Give its GPU memory back."""

    async def wake(self) -> None:
        """Take the memory again."""

    async def stop(self, *, gently: bool = True) -> None:
        """End it, whatever state it is in, by force or after a request; it can be started again."""
