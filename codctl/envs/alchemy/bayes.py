"""The strongest reference that knows no recipe."""

from __future__ import annotations

from random import Random

from codctl.envs.alchemy import text, thrift
from codctl.envs.alchemy.knowledge import Outcomes, believed, recipes_in
from codctl.envs.alchemy.search import Search
from codctl.envs.alchemy.world import AlchemyEpisode, Pair
from codctl.envs.base import PolicyView


class BayesPolicy:
    """Keeps all knowledge through the pack and plans for the current task only; needs no hints.

    Exact with unlimited material; greedy where it is limited.
    """

    def solve(self, view: PolicyView, rng: Random) -> str:
        episode = view.episode
        assert isinstance(episode, AlchemyEpisode)
        known = believed((*view.past, episode), episode.world)
        pair = _next_pair(episode, known) or _untried(episode, known)
        return text.reply(episode.words, None, pair, view.rendering)

    def update(self, view: PolicyView, rng: Random) -> str:
        assert isinstance(view.episode, AlchemyEpisode)
        world = view.episode.world
        known = believed((*view.past, view.episode), world)
        return text.hint_from(world, recipes_in(known), view.rendering)


def _next_pair(episode: AlchemyEpisode, known: Outcomes) -> Pair | None:
    if episode.is_limited:
        return thrift.next_pair(episode, known)
    recipes = {product: pair for pair, product in known.items() if product is not None}
    wanted = episode.task.target
    if wanted not in recipes:
        rounds = episode.max_turns - episode.turns
        return Search(episode.world, known, set(episode.stock), wanted, rounds).next_pair()
    # Whoever saw a recipe at work had its inputs, and knows how they were made.
    while (lacking := episode.lacking(recipes[wanted])) is not None:
        wanted = lacking
    return recipes[wanted]


def _untried(episode: AlchemyEpisode, known: Outcomes) -> Pair:
    """Where nothing can save this task: any pair at hand that may still make something."""
    held = [element for element, count in sorted(episode.stock.items()) if count]
    pairs = [pair for pair in episode.world.pairs(held) if episode.lacking(pair) is None]
    tier_of = episode.world.tier_of
    useful = (pair for pair in pairs if pair not in known and tier_of[pair[0]] == tier_of[pair[1]])
    return next(useful, pairs[0] if pairs else (0, 0))
