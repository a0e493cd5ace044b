"""From scored episodes to token-budget micro-batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codctl.cod.engine import Scores
from codctl.cod.trajectory import EpisodeRecord, TokenRecord

EVEN_AT = 16_384  # tokens: at this length attention costs about as much as all else (Qwen3-0.6B: 8k, 8B: 47k)
PASS_TOKENS = 4096  # what a pass costs besides its tokens: on a GPU much, for it starts many kernels
PASS_TOKENS_ON_CPU = 64  # half a million parameters: 50 to 100; for larger models fewer, and padding costs them more


@dataclass(frozen=True, eq=False)
class Lesson:
    """What a teacher says of a row's sampled tokens.

    Attributes:
        teacher: Whose rows are computed together, as the teacher has computed them.
        label: Under which the row is counted in metrics.
        scores: The teacher's.
        scale: Of the row's loss.
    """

    teacher: str
    label: str
    scores: Scores
    scale: float = 1.0


@dataclass(frozen=True, eq=False)
class Sample(TokenRecord):
    """One training row: an episode, or a turn of one, with the advantage that all its sampled tokens carry.

    Attributes:
        advantage: Of the episode.
        episode: Number of the episode, where several rows can be of the same.
        index: Place among the rows of one call of the learner, which sets it.
        lesson: Of a teacher; None where there is none.
    """

    advantage: float
    episode: int | None = None
    index: int = -1
    lesson: Lesson | None = None


def samples_of(episode: EpisodeRecord, advantage: float, number: int) -> list[Sample]:
    """The training rows of an episode; the context window is not checked again, the engine kept to it."""
    return [
        Sample(
            ids=episode.ids[row],
            loss_mask=episode.loss_mask[row],
            logprobs=episode.logprobs[row],
            advantage=advantage,
            episode=number,
        )
        for row in episode.rows
    ]


def by_episode(samples: Sequence[Sample]) -> list[list[Sample]]:
    """Rows of the same episode together, in order; a row without a number is an episode of its own."""
    found: dict[tuple[int | None, int], list[Sample]] = {}
    for key, sample in zip(episode_keys(samples), samples, strict=True):
        found.setdefault(key, []).append(sample)
    return list(found.values())


def by_teacher(samples: Sequence[Sample]) -> list[list[Sample]]:
    """Rows without a teacher as they are, then those of each teacher in the order in which it has scored them."""
    found: dict[str, list[Sample]] = {"": []}
    for sample in samples:
        found.setdefault(sample.lesson.teacher if sample.lesson else "", []).append(sample)
    untaught = found.pop("")
    return [untaught, *(sorted(found[name], key=lambda sample: sample.index) for name in sorted(found))]


def episode_keys(samples: Sequence[Sample]) -> list[tuple[int | None, int]]:
    """What rows of the same episode have in common."""
    return [(sample.episode, place if sample.episode is None else 0) for place, sample in enumerate(samples)]


def micro_batches(
    samples: Sequence[Sample], token_budget: int, *, packed: bool = False, pass_tokens: int = PASS_TOKENS
) -> list[list[Sample]]:
    """Split rows into batches of at most `token_budget` tokens.

    A row longer than the budget gets a batch of its own.

    Args:
        samples: Rows.
        token_budget: Most tokens that the model reads at once.
        packed: Rows lie behind one another, so batches are filled up to the budget. Otherwise rows are padded to the
            longest of their batch, padding counts, and like lengths go together.
        pass_tokens: What a further batch costs, in tokens: padding that costs more than that is not read.
    """
    longest_first = sorted(samples, key=lambda s: len(s.ids), reverse=True)
    if packed:
        return _first_fit(longest_first, token_budget)
    return _side_by_side(longest_first, token_budget, pass_tokens)


def _side_by_side(longest_first: list[Sample], token_budget: int, pass_tokens: int) -> list[list[Sample]]:
    """The cheapest cuts of the rows in their order, found from the first row on.

    Among equally cheap ones it is the one with the larger batches at the end.
    """
    lengths = np.array([len(sample.ids) for sample in longest_first])
    costs = np.zeros(len(lengths) + 1, np.int64)  # of the first rows, so many of them
    begins = np.zeros(len(lengths) + 1, np.int64)  # of the last batch among them
    earliest = 0
    for end in range(1, len(lengths) + 1):
        # The first row of a batch is its longest, so it sets the padded length.
        while earliest < end - 1 and (end - earliest) * lengths[earliest] > token_budget:
            earliest += 1
        rows = end - np.arange(earliest, end)
        found = costs[earliest:end] + rows * lengths[earliest:end] + pass_tokens
        best = int(found.argmin())
        costs[end], begins[end] = found[best], earliest + best
    batches, end = list[list[Sample]](), len(lengths)
    while end:
        batches.append(longest_first[begins[end] : end])
        end = int(begins[end])
    return batches[::-1]


def _first_fit(longest_first: list[Sample], token_budget: int) -> list[list[Sample]]:
    batches: list[list[Sample]] = []
    room: list[int] = []
    for sample in longest_first:
        fitting = next((i for i, left in enumerate(room) if len(sample.ids) <= left), None)
        if fitting is None:
            batches.append([sample])
            room.append(token_budget - len(sample.ids))
        else:
            batches[fitting].append(sample)
            room[fitting] -= len(sample.ids)
    return batches


def balanced(batches: Sequence[list[Sample]], ranks: int, *, packed: bool = False) -> list[list[list[Sample]]]:
    """Deal micro-batches to processes: the same number for each, of nearly equal cost in each round and in all.

    What would leave some processes without work in the last round is spread over all of them; where there are too few
    rows for that, batches are empty. No batch gets larger than the largest was.

    Args:
        batches: From `micro_batches`, which of them is whose does not matter.
        ranks: Processes. One gets the batches as they are.
        packed: As in `micro_batches`.

    Returns:
        The micro-batches of each process, in the order in which to compute them.
    """
    if ranks == 1:
        return [list(batches)]

    def cost(batch: Sequence[Sample]) -> float:
        return sum(n + n * n / EVEN_AT for n in _forwarded_lengths(batch, packed))

    dearest_first = sorted(batches, key=cost, reverse=True)
    full = len(batches) - len(batches) % ranks
    largest = max((sum(_forwarded_lengths(batch, packed)) for batch in batches), default=0)
    last = dearest_first[full:]
    if last:
        spread = _spread([sample for batch in last for sample in batch], ranks)
        fits = all(sum(_forwarded_lengths(batch, packed)) <= largest for batch in spread)
        last = sorted(spread, key=cost, reverse=True) if fits else [*last, *([] for _ in range(ranks - len(last)))]
    rounds = [*dearest_first[:full], *last]
    dealt: list[list[list[Sample]]] = [[] for _ in range(ranks)]
    loads = [0.0] * ranks
    for first in range(0, len(rounds), ranks):
        least_loaded = sorted(range(ranks), key=lambda rank: loads[rank])
        for rank, batch in zip(least_loaded, rounds[first : first + ranks], strict=True):
            dealt[rank].append(batch)
            loads[rank] += cost(batch)
    return dealt


def _spread(samples: Sequence[Sample], bins: int) -> list[list[Sample]]:
    """Longest first, each row to where there is least."""
    found: list[list[Sample]] = [[] for _ in range(bins)]
    tokens = [0] * bins
    for sample in sorted(samples, key=lambda s: len(s.ids), reverse=True):
        least = tokens.index(min(tokens))
        found[least].append(sample)
        tokens[least] += len(sample.ids)
    return found


def _forwarded_lengths(batch: Sequence[Sample], packed: bool) -> list[int]:
    lengths = [len(sample.ids) for sample in batch]
    return lengths if packed else [max(lengths, default=0)] * len(lengths)


@dataclass(frozen=True)
class TokenCount:
    """What a set of micro-batches makes the model read.

    Attributes:
        useful: Tokens of rows.
        forwarded: The same with padding.
    """

    useful: int
    forwarded: int


def count_tokens(batches: Sequence[Sequence[Sample]], *, packed: bool = False) -> TokenCount:
    useful = sum(len(sample.ids) for batch in batches for sample in batch)
    return TokenCount(useful, sum(n for batch in batches for n in _forwarded_lengths(batch, packed)))


def tokens_by_turn(episodes: Sequence[EpisodeRecord]) -> int:
    """Tokens that one training row per turn would forward: each turn repeats all that came before it."""
    return sum(len(e.ids) if e.rendered else sum(e.turn_ends) for e in episodes)
