"""From scored episodes to token-budget micro-batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from codctl.cod.trajectory import EpisodeRecord


@dataclass(frozen=True)
class Sample:
    """One training row: a whole episode with the advantage that all its sampled tokens carry.

    Attributes:
        ids: Token ids.
        loss_mask: 1 for sampled tokens.
        old_logprobs: Sampling log-probs, 0 elsewhere.
        advantage: Of the episode.
    """

    ids: list[int]
    loss_mask: list[int]
    old_logprobs: list[float]
    advantage: float

    @property
    def loss_tokens(self) -> int:
        return sum(self.loss_mask)


def sample_of(episode: EpisodeRecord, advantage: float) -> Sample:
    """A training row; the context window is not checked again, the engine kept to it."""
    return Sample(episode.ids, episode.loss_mask, episode.logprobs, advantage)


def micro_batches(samples: Sequence[Sample], token_budget: int) -> list[list[Sample]]:
    """Split rows into batches of at most `token_budget` tokens, padding included; similar lengths go together.

    A row longer than the budget gets a batch of its own.
    """
    batches: list[list[Sample]] = []
    for sample in sorted(samples, key=lambda s: len(s.ids), reverse=True):
        # The first row of a batch is its longest, so it sets the padded length.
        if batches and (len(batches[-1]) + 1) * len(batches[-1][0].ids) <= token_budget:
            batches[-1].append(sample)
        else:
            batches.append([sample])
    return batches


@dataclass(frozen=True)
class TokenCount:
    """What a set of micro-batches makes the model read.

    Attributes:
        useful: Tokens of rows.
        forwarded: The same with padding.
    """

    useful: int
    forwarded: int


def count_tokens(batches: Sequence[Sequence[Sample]]) -> TokenCount:
    useful = sum(len(sample.ids) for batch in batches for sample in batch)
    return TokenCount(useful, sum(len(batch) * max(len(sample.ids) for sample in batch) for batch in batches))


def tokens_by_turn(episodes: Sequence[EpisodeRecord]) -> int:
    """Tokens that one training row per turn would forward: each turn repeats all that came before it."""
    return sum(end for episode in episodes for end in episode.turn_ends)
