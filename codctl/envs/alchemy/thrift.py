"""What to mix next when material is limited: greedy, because each attempt takes away what later ones need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from codctl.envs.alchemy.knowledge import Outcomes
from codctl.envs.alchemy.world import AlchemyEpisode, Pair

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
