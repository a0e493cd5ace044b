"""How long engines play a wave: all trajectories that are sampled with the same weights, at once.

A decoding step costs the same for few sequences as for some dozens, so the longest trajectory decides, and what the
sequences add is proportional to their tokens. Both are added up; seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import ceil, erf, sqrt

_LIMIT, _CUTS = 8.0, 400  # of the integral over the normal distribution


@dataclass(frozen=True)
class Pace:
    """How fast one engine samples. Seconds.

    Attributes:
        step: A decoding step, however few sequences take part.
        row: What each sequence adds to it.
        token: What each token of each sequence adds to it: its keys and values are read.
        prompt: A prompt token.
        seats: Most sequences at once.
    """

    step: float
    row: float
    token: float
    prompt: float
    seats: float


@dataclass(frozen=True)
class Work:
    """Trajectories of one rollout step, by their means.

    Attributes:
        trajectories: Of a step.
        chain: Tokens that a trajectory samples, one after the other.
        spread: Deviation of that number over its mean.
        context: Tokens of the sequence that a sampled token is added to.
        prompt: Prompt tokens of a trajectory, each counted once.
    """

    trajectories: int
    chain: float
    spread: float
    context: float
    prompt: float


@dataclass(frozen=True)
class Wave:
    """The time of a wave. Seconds.

    Attributes:
        seconds: Until its last trajectory is there.
        complete: Until those of each of its rollout steps are.
        decoding: Decoding steps of an engine.
        step: A decoding step in the mean.
        alone: One of a single sequence.
        sequences: At once in an engine, at most.
        prompts: Of the seconds: prompts.
        tail: Of the seconds: what it takes longer than with trajectories that are all as long as the mean.
        longest: The longest trajectory, relative to the mean.
    """

    seconds: float
    complete: tuple[float, ...]
    decoding: float
    step: float
    alone: float
    sequences: float
    prompts: float
    tail: float
    longest: float


def play(pace: Pace, work: Work, steps: int, engines: int, *, is_in_order: bool = True) -> Wave:
    """The expected time of a wave.

    Args:
        pace: Of each engine.
        work: Of each rollout step.
        steps: Rollout steps of the wave.
        engines: Among which trajectories are shared out evenly.
        is_in_order: Whether trajectories that find no seat wait in the order of their steps. Else all are begun, and
            their replies take turns on the seats.
    """
    count = work.trajectories * steps
    each = ceil(count / engines)
    seats = max(1.0, min(pace.seats, each))
    tokens = count * work.chain / engines
    longest = mean_of_longest(count, work.spread)
    decoding = _decoding(work, each, seats, count)
    prompts = count * work.prompt * pace.prompt / engines
    growing = tokens * (pace.row + work.context * pace.token) + prompts
    seconds = decoding * pace.step + growing

    def until(number: int) -> float:
        """Until so many of the first trajectories are there."""
        if each > seats and not is_in_order:
            return seconds
        own = _decoding(work, ceil(number / engines), seats, number)
        share = min(1.0, own * seats / (each * work.chain))
        return own * pace.step + share * growing

    even = max(1.0, each / seats) * work.chain
    return Wave(
        seconds,
        (*(min(seconds, until(work.trajectories * (i + 1))) for i in range(steps - 1)), seconds),
        decoding,
        (seconds - prompts) / decoding,
        pace.step,
        seats,
        prompts,
        (decoding - even) * pace.step,
        longest,
    )


def _decoding(work: Work, each: int, seats: float, count: int) -> float:
    """Decoding steps until `count` trajectories on all engines are there, `each` of them on one.

    Trajectories that find no seat follow others. When the last one begins, the seats have been filled anew as often as
    renewal theory says; about as many as lengths deviate have begun just before and are as long as any.
    """
    seated = min(count, round(seats * count / each))
    longest = mean_of_longest(seated, work.spread)
    if each > seats:
        engines, waiting = count / each, each - seats
        begun = waiting / seats + (1 - work.spread**2) / 2
        last = max(1, round(engines * min(waiting, seats * work.spread)))
        longest = max(longest, begun + mean_of_longest(last, work.spread))
    return work.chain * longest


@lru_cache(maxsize=256)
def mean_of_longest(number: int, spread: float) -> float:
    """Expected largest of some numbers with mean 1: of gamma-distributed ones (Wilson and Hilferty's form of them).

    Args:
        number: How many.
        spread: Their standard deviation.
    """
    if number <= 1 or spread <= 0:
        return 1.0
    cut = 2 * _LIMIT / _CUTS
    points = [-_LIMIT + cut * i for i in range(_CUTS + 1)]
    shares = [((1 + erf(z / sqrt(2))) / 2) ** number for z in points]
    values = [_gamma((low + high) / 2, spread) for low, high in pairwise(points)]
    return sum(value * (high - low) for value, (low, high) in zip(values, pairwise(shares), strict=True))


def _gamma(z: float, spread: float) -> float:
    """A gamma-distributed number of mean 1 by the normal one that has the same quantile."""
    ninth = spread * spread / 9
    return float(max(0.0, 1 - ninth + z * sqrt(ninth)) ** 3)
