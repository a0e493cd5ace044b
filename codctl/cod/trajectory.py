"""What a rollout leaves behind: every token, mask and log-prob of every episode, and every revision of the hints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from codctl.cod.attempt import Performance
from codctl.cod.context import Revision
from codctl.envs.base import HintScore
from codctl.outcomes import ReplyFault

Kind = Literal["solve", "update"]
Ids = NDArray[np.int32]
Mask = NDArray[np.bool_]
Logprobs = NDArray[np.float32]

DTYPES = {"ids": np.int32, "loss_mask": np.bool_, "logprobs": np.float32}


@dataclass(frozen=True, eq=False)
class TokenRecord:
    """Tokens that one policy read and sampled, as arrays of the same length.

    Attributes:
        ids: Token ids, prompt and replies; int32.
        loss_mask: Whether a token was sampled; bool.
        logprobs: Sampling log-probs, 0 where nothing was sampled; float32.
    """

    # Not printed: asyncio.run takes the repr of what it returns, which took most of the time of scripted play.
    ids: Ids = field(repr=False)
    loss_mask: Mask = field(repr=False)
    logprobs: Logprobs = field(repr=False)

    def __post_init__(self) -> None:
        for name, dtype in DTYPES.items():
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TokenRecord) or type(self) is not type(other):
            return NotImplemented
        tokens = all(np.array_equal(getattr(self, name), getattr(other, name)) for name in DTYPES)
        return tokens and self._others() == other._others()

    def __hash__(self) -> int:
        return hash(self._others())

    def _others(self) -> tuple[Any, ...]:
        return tuple(getattr(self, one.name) for one in fields(self) if one.name not in DTYPES)

    @property
    def loss_tokens(self) -> int:
        """How many tokens were sampled."""
        return int(np.count_nonzero(self.loss_mask))


@dataclass(frozen=True, eq=False)
class EpisodeRecord(TokenRecord):
    """One solve or update episode.

    Attributes:
        kind: `solve` at this position, or the `update` that follows it (and writes the hints for position + 1).
        turn_ends: Length of `ids` after each reply.
        raw_reward: Solve: as the world gave it. Update: 0, or the (negative) format reward.
        shaped_reward: Solve: the raw reward less the turn penalty. Update: as raw.
        turns: Replies used.
        hints: Solve: the hints in force. Update: the hints it wrote (after a failure: those now in force).
        hint_score: Of `hints`, against the truth and what was seen before this position (update: up to it).
        feedback: What the environment or the parser said at the end.
        format_error: Whether a reply could not be read.
        failed: The engine failed or took too long: no loss weight, no reward, no place in the group.
        weight_version: Of the engine, when the last reply was sampled.
        fault: What was wrong with the reply that ended the episode, where it could not be read or did not come.
        outcome: How it ended: one of `codctl.outcomes.SOLVE_OUTCOMES` or of its family's `losses`; of an update one of
            `codctl.outcomes.UPDATE_OUTCOMES`.
        replies: Text of each reply.
        observations: What the first prompt and each later one told the model.
        actions: Solve: what was read from each reply that could be read.
        performance: How an agent program went through it, where one did.
        rendered: Each turn's prompt was rendered anew: up to each of `turn_ends` reaches a row of its own.
    """

    kind: Kind
    position: int
    turn_ends: Sequence[int]
    raw_reward: float
    shaped_reward: float
    turns: int
    hints: str
    hint_score: HintScore
    feedback: str = ""
    format_error: bool = False
    failed: str = ""
    weight_version: int = 0
    replies: tuple[str, ...] = ()
    observations: tuple[str, ...] = ()
    fault: ReplyFault | None = None
    outcome: str = ""
    actions: tuple[str, ...] = ()
    rendered: bool = False
    performance: Performance | None = None

    @property
    def is_solved(self) -> bool:
        """Whether a task was solved: with a graded reward, well enough."""
        return self.outcome == "solved"

    @property
    def rows(self) -> list[slice]:
        """The training rows in `ids`: one for the episode, or one for each turn whose prompt was rendered anew."""
        if not self.rendered:
            return [slice(0, len(self.ids))]
        return [slice(begin, end) for begin, end in pairwise((0, *self.turn_ends))]


@dataclass(frozen=True)
class Trajectory:
    """One rollout through a pack: S solve and S−1 update episodes, in order."""

    pack: str
    rollout: int
    episodes: tuple[EpisodeRecord, ...]
    revisions: tuple[Revision, ...] = field(default=(Revision(),))

    def of(self, kind: Kind) -> list[EpisodeRecord]:
        return [episode for episode in self.episodes if episode.kind == kind]


def position_metrics(trajectories: Sequence[Trajectory], *, graded: bool = False) -> dict[str, float]:
    """Means by position.

    Args:
        trajectories: Of packs of the same length.
        graded: Whether raw rewards are told beside success.

    Returns:
        `success/…` (share of tasks solved), `raw_reward/…` where graded, `reward/…` (shaped), and from position 1 on
        `hint_correctness/…` and `hint_detail/NAME/…`.
    """
    found: dict[str, float] = {}
    for position, episodes in enumerate(zip(*(t.of("solve") for t in trajectories), strict=True)):
        played = [episode for episode in episodes if not episode.failed]
        if not played:
            continue
        found[f"success/position_{position}"] = float(np.mean([e.is_solved for e in played]))
        if graded:
            found[f"raw_reward/position_{position}"] = float(np.mean([e.raw_reward for e in played]))
        found[f"reward/position_{position}"] = float(np.mean([e.shaped_reward for e in played]))
        knowable = sum(e.hint_score.knowable for e in played)
        if position and knowable:
            right = sum(e.hint_score.knowable_right for e in played)
            found[f"hint_correctness/position_{position}"] = right / knowable
        details = [e.hint_score.detail for e in played] if position else []
        for name in dict.fromkeys(name for detail in details for name in detail):
            values = [detail[name] for detail in details if name in detail]
            found[f"hint_detail/{name}/position_{position}"] = float(np.mean(values))
    return found
