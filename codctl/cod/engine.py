"""What the rollout asks of an inference engine: token ids in, token ids and log-probs out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import astuple, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from codctl.outcomes import FaultKind, ReplyFault


@dataclass(frozen=True)
class Sampling:
    """How one reply is sampled.

    Attributes:
        max_new_tokens: Most tokens in the reply, the stop token included.
        temperature: Divides the logits; log-probs are those of the scaled distribution.
        stop_ids: Any of these ends the reply and is its last token.
        top_p: Only the likeliest tokens with this much mass are drawn; log-probs are those among them.
    """

    max_new_tokens: int
    temperature: float = 1.0
    stop_ids: tuple[int, ...] = ()
    top_p: float = 1.0


@dataclass(frozen=True)
class Generation:
    """One sampled reply.

    Attributes:
        token_ids: With the stop token, if one was sampled.
        logprobs: Of each token under the distribution it was drawn from.
        finish_reason: `stop`, or `length` when the budget or the context window ended it.
        weight_version: Of the weights that sampled it.
        fault: What the engine knows to be wrong with it; that it was cut or is empty, the rollout sees itself.
    """

    token_ids: list[int]
    logprobs: list[float]
    finish_reason: Literal["stop", "length"]
    weight_version: int
    fault: ReplyFault | None = None


ALL = -1  # of `top`: the whole vocabulary


@dataclass(frozen=True, eq=False)
class Scores:
    """What a model gives the sampled tokens of one row. N sampled tokens, K of the likeliest, V vocabulary.

    Attributes:
        logprobs_N: Of the tokens themselves; float32.
        top_ids_NK: The likeliest tokens at each place, which may be in any order; int32. None where nobody asked, and
            for the whole vocabulary.
        top_logprobs_NK: Theirs; of the whole vocabulary shape (N, V), by token id; float32.
    """

    logprobs_N: NDArray[np.float32]
    top_ids_NK: NDArray[np.int32] | None = None
    top_logprobs_NK: NDArray[np.float32] | None = None


def _ignore() -> None: ...


@dataclass(frozen=True)
class RequestTag:
    """Where a reply belongs, for routing and messages: an engine's replies do not depend on it.

    Attributes:
        pack: Id of the pack.
        rollout: Number of the pack's trajectory.
        position: Of the episode in the pack, from 0.
        turn: Replies of the episode before this one.
        kind: Of the episode.
        begin: Called by an engine when it begins to make the reply: its deadline counts from then on.
        wait: Called by an engine that puts a reply which it has begun back into its queue.
    """

    pack: str
    rollout: int
    position: int
    turn: int
    kind: Literal["solve", "update"]
    begin: Callable[[], None] = field(default=_ignore, compare=False)
    wait: Callable[[], None] = field(default=_ignore, compare=False)

    def __str__(self) -> str:
        return f"{self.pack}/{self.rollout}/{self.kind}/{self.position}/{self.turn}"


class Sender(Protocol):
    """The learner, while its weights are those that are wanted: it can send them to an engine that asks for them."""

    async def send(
        self, ask: Callable[[dict[str, Any]], Awaitable[Any]], *, key: str, processes: int, on_gpus: bool
    ) -> None:
        """Send them to the processes of one engine.

        Args:
            ask: Has each of these processes call `codctl.engines.link.receive` with the given arguments.
            key: Of the link, the same for as long as it works.
            processes: How many there are.
            on_gpus: Whether they have GPUs of their own.

        Raises:
            SendError: They did not arrive.
        """


class SendError(RuntimeError):
    """Weights did not arrive. They are in their folder as well."""


@dataclass(frozen=True)
class Weights:
    """What an engine shall sample with from now on.

    Attributes:
        version: Rollout steps that the learner had made of them.
        folder: Where an engine beside the learner finds them: a Hugging Face model folder or a PEFT adapter's. None for
            an engine that samples with the learner's own model.
        sender: Has the same weights in memory, until the engine says that it has taken them; None where nobody has.
    """

    version: int
    folder: Path | None = None
    sender: Sender | None = field(default=None, compare=False)


@dataclass
class EngineStats:
    """Counters; an engine may begin anew at each `update_weights`.

    Attributes:
        forwards: Forward passes, where the engine can tell.
        rows: Rows over all of them.
        sessions: Live trajectories at each of them, capped at the most that fit: what a full batch would have held.
        prompt_tokens: Prompt tokens asked for.
        cached_tokens: Of these, found in a cache.
        new_tokens: Tokens sampled.
        restarts: How often an engine had to be started again.
    """

    forwards: int = 0
    rows: int = 0
    sessions: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    new_tokens: int = 0
    restarts: int = 0

    @property
    def occupancy(self) -> float:
        """Mean share of the live trajectories that a forward pass serves."""
        return self.rows / self.sessions if self.sessions else 0.0

    def add(self, more: EngineStats) -> None:
        """Count what another engine has done as well."""
        for counter in fields(self):
            setattr(self, counter.name, getattr(self, counter.name) + getattr(more, counter.name))

    def since(self, earlier: EngineStats) -> EngineStats:
        """What was counted after `earlier`."""
        return EngineStats(*(now - then for now, then in zip(astuple(self), astuple(earlier), strict=True)))


class EngineError(RuntimeError):
    """A reply could not be made. The episode is recorded as failed, the run goes on."""

    kind: FaultKind = "lost"

    @property
    def fault(self) -> ReplyFault:
        return ReplyFault(self.kind, str(self))


class LostError(EngineError):
    """No reply because of the engine and not of the request: it is gone, hangs, or has lost its weights.

    The same may be asked of another engine, or of this one when it is back.
    """


class PromptTooLongError(EngineError):
    """The prompt leaves no room for a reply."""

    kind = "rejected"


class Engine(Protocol):
    """A batching inference engine. Callers ask for one reply each; the engine decides what runs together."""

    def open_session(self) -> None:
        """A trajectory begins: the engine may wait for its next request before it runs a batch."""

    def close_session(self) -> None:
        """A trajectory ended: nothing more will come from it."""

    async def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, seed: int, tag: RequestTag
    ) -> Generation: ...

    async def update_weights(self, weights: Weights) -> None:
        """Sample with these from now on, and forget all that was computed with the old ones."""

    async def aclose(self) -> None: ...
