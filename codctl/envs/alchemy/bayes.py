"""The strongest reference that knows no recipe, and what it mixes next when material is limited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from codctl.envs.alchemy import text
from codctl.envs.alchemy.knowledge import Outcomes, believed, recipes_in
from codctl.envs.alchemy.search import Search
from codctl.envs.alchemy.world import AlchemyEpisode, Pair
from codctl.envs.base import PolicyView

Recipes = dict[int, list[Pair]]


def next_pair(episode: AlchemyEpisode, known: Outcomes) -> Pair | None:
    """Make the target by known recipes; else try a pair that may be its recipe, the cheapest first; else discover.

    Returns:
        What to mix now; None when the material allows nothing of it.
    """
    world, stock = episode.world, episode.stock
    recipes = recipes_by_product(known)
    way = obtain([episode.task.target], stock, recipes)
    if way:
        return way[0]
    for tier in range(world.tier_of[episode.task.target], 0, -1):
        ways = [
            (pair, way)
            for pair in world.pairs(world.tiers[tier - 1])
            if pair not in known and (way := obtain(pair, stock, recipes)) is not None
        ]
        if ways:
            pair, way = min(ways, key=lambda found: len(found[1]))
            return way[0] if way else pair
    return None


def recipes_by_product(known: Mapping[Pair, int | None]) -> Recipes:
    recipes: Recipes = {}
    for pair, product in known.items():
        if product is not None:
            recipes.setdefault(product, []).append(pair)
    return recipes


def obtain(wanted: Sequence[int], stock: Mapping[int, int], recipes: Recipes) -> list[Pair] | None:
    """Mixes, in order, after which all `wanted` pieces are at hand together; None when they cannot be had."""
    if not wanted:
        return []
    element, rest = wanted[0], wanted[1:]
    if stock.get(element, 0) > 0:
        return obtain(rest, {**stock, element: stock[element] - 1}, recipes)
    for pair in recipes.get(element, []):
        way = obtain((*pair, *rest), stock, recipes)
        if way is not None:
            return [*way, pair]
    return None


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
        return next_pair(episode, known)
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
