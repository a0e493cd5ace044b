"""Belief over the sets of points that may have to be known: C(N, K) of them, each with a weight."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from itertools import combinations
from types import MappingProxyType

from codctl.envs.learn2ask.generator import likelihood
from codctl.envs.learn2ask.scoring import Scores, reward
from codctl.envs.learn2ask.world import STOP, Asked, AskEpisode, judged

Belief = Mapping[int, float]
"""Set of points (bit i: point i) → weight. Weights need not sum to 1."""


@cache
def anything(points: int, needed: int) -> Belief:
    """Before anything is known: every set is as likely as every other."""
    return MappingProxyType({sum(1 << p for p in chosen): 1.0 for chosen in combinations(range(points), needed)})


def after_reading(belief: Belief, known: int) -> Belief:
    """What an interview tells before anything is asked: which points are known depends on which must be."""
    return {needed: weight * likelihood(needed, known) for needed, weight in belief.items()}


def after_scores(belief: Belief, known: int, asked: Asked, scores: Scores) -> Belief:
    """The sets under which a reply gets the decision and the content that it got. May be empty."""
    got = scores.decision, scores.content
    would = {needed: judged(needed & ~known, asked) for needed in belief}
    return {n: weight for n, weight in belief.items() if (would[n].decision, would[n].content) == got}


def after_episode(belief: Belief, episode: AskEpisode, *, reads: bool) -> Belief:
    """What a whole episode tells; with `reads`, also what its interview told."""
    known = episode.task.known
    if reads:
        belief = after_reading(belief, known)
    return belief if episode.scores is None else after_scores(belief, known, episode.asked, episode.scores)


def believe(episodes: Iterable[AskEpisode], points: int, needed: int, *, reads: bool = False) -> Belief:
    """What some episodes tell together. Where they contradict each other, the earlier ones of the argument count.

    An episode that leaves nothing possible ends the memory: the world changed there, or someone lied.
    """
    belief = anything(points, needed)
    for episode in episodes:
        narrowed = after_episode(belief, episode, reads=reads)
        if not narrowed:
            break
        belief = narrowed
    return belief


def settled(belief: Belief, points: int) -> dict[int, bool]:
    """The points of which it is known whether they must be known: all sets that are left agree on them."""
    every, some = (1 << points) - 1, 0
    for needed in belief:
        every, some = every & needed, some | needed
    return {p: bool(every >> p & 1) for p in range(points) if (every >> p & 1) or not some >> p & 1}


def best_reply(belief: Belief, points: int, known: int) -> Asked:
    """The reply with the highest expected reward in this task; an end before a question, lower points first."""
    replies = [STOP, *((point,) for point in range(points) if not known >> point & 1)]
    missing: dict[int, float] = {}
    for needed, weight in belief.items():
        missing[needed & ~known] = missing.get(needed & ~known, 0.0) + weight

    def worth(asked: Asked) -> float:
        return sum(weight * reward(judged(lacking, asked)) for lacking, weight in missing.items())

    return max(replies, key=worth)
