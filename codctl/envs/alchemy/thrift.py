"""What to mix next when material is limited: greedy, because each attempt takes away what later ones need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement

from codctl.envs.alchemy.knowledge import Outcomes
from codctl.envs.alchemy.world import AlchemyEpisode, AlchemyWorld, Pair

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
        pairs = combinations_with_replacement(world.tiers[tier - 1], 2)
        ways = [
            (pair, way) for pair in pairs if pair not in known and (way := obtain(pair, stock, recipes)) is not None
        ]
        if ways:
            is_target = tier == world.tier_of[episode.task.target]
            pair, way = min(ways, key=lambda found: (is_target and not fits(episode, recipes, found[0]), len(found[1])))
            return way[0] if way else pair
    return None


def recipes_by_product(known: Outcomes) -> Recipes:
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


def fits(episode: AlchemyEpisode, recipes: Recipes, pair: Pair) -> bool:
    """Whether the material at the start may have been measured for a target made of this pair.

    It is what the target needs, and a surplus that is shared out evenly among the base elements. Where a recipe on the
    way is unknown, anything may be.
    """
    world, start = episode.world, episode.task.stock(episode.world)
    for need in _needs(pair, world, recipes):
        surplus = [start.get(element, 0) - need[element] for element in world.tiers[0]]
        if need[UNKNOWN] or (min(surplus) >= 0 and max(surplus) - min(surplus) <= 1):
            return True
    return False


UNKNOWN = -1  # stands for the base elements of an element whose recipe is unknown


def _needs(wanted: Sequence[int], world: AlchemyWorld, recipes: Recipes) -> list[Counter[int]]:
    """Base elements that may go into some pieces: one count for each choice among known recipes."""
    totals: list[Counter[int]] = [Counter()]
    for element in wanted:
        if element < world.sizes[0]:
            options = [Counter((element,))]
        else:
            options = [need for pair in recipes.get(element, []) for need in _needs(pair, world, recipes)]
        totals = [total + need for total in totals for need in options or [Counter((UNKNOWN,))]]
    return totals
