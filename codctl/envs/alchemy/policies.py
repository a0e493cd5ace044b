"""Scripted agents: an informed one, a random one, and the demonstrator of the warm start with its thoughts."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations_with_replacement
from random import Random
from typing import Literal

from codctl.envs.agents import agent
from codctl.envs.alchemy import terse, text
from codctl.envs.alchemy.bayes import BayesPolicy, next_pair, obtain, recipes_by_product
from codctl.envs.alchemy.knowledge import Outcomes, recipes_in, seen_in, told_by
from codctl.envs.alchemy.world import AlchemyEpisode, AlchemyWorld, Pair
from codctl.envs.base import Policy, PolicyView

Source = Literal["seen", "hints", "untried", "none"]

_AIM = {
    True: ("I want to make the target {made}.", "The target is {made}.", "I still need {made}, the target."),
    False: ("On the way to {target} I may need {made}.", "To get to {target}, {made} can help."),
}
_SAID = {
    "seen": ("I have seen that {mix} makes it.", "In this task {mix} made it before."),
    "hints": ("My hints say that {mix} makes it.", "According to my hints, {mix} makes it."),
    "untried": (
        "I do not know its recipe, so I try {mix}.",
        "Its recipe is not known yet, and nothing is known of {mix}, so I try that.",
    ),
    "none": ("Nothing better is left to try, so I mix {mix}.",),
}


def thought(episode: AlchemyEpisode, made: int, pair: Pair, source: Source, rng: Random) -> str:
    """A sentence or two; one that calls a try a try."""
    words, target = episode.words, episode.task.target
    if episode.rendering == "terse":
        return terse.thought(words, made, pair, known=source in ("seen", "hints"), rng=rng)
    mix = f"{words[pair[0]]} + {words[pair[1]]}"
    said = f"{rng.choice(_AIM[made == target])} {rng.choice(_SAID[source])}"
    return said.format(made=words[made], target=words[target], mix=mix)


def alchemy(view: PolicyView) -> AlchemyEpisode:
    assert isinstance(view.episode, AlchemyEpisode)
    return view.episode


class InformedPolicy:
    """Knows the recipes and makes what is missing; where material is limited, by the recipes that it suffices for."""

    def solve(self, view: PolicyView, rng: Random) -> str:
        episode = alchemy(view)
        wanted, pair = self._next(episode, episode.task.target)
        if episode.is_limited:
            recipes = recipes_by_product(episode.world.products)
            way = obtain([episode.task.target], episode.stock, recipes)
            if way:
                wanted, pair = episode.world.products[way[0]], way[0]
        return text.reply(episode.words, wanted, pair, view.rendering)

    def update(self, view: PolicyView, rng: Random) -> str:
        return text.hint_from(view.world, all_recipes(view.world), view.rendering)

    def _next(self, episode: AlchemyEpisode, wanted: int) -> tuple[int, Pair]:
        pair = episode.world.recipes[wanted][0]
        lacking = episode.lacking(pair)
        if lacking is None or lacking not in episode.world.craftable:
            return wanted, pair
        return self._next(episode, lacking)


class RandomPolicy:
    """Mixes any two elements at hand and never learns."""

    def solve(self, view: PolicyView, rng: Random) -> str:
        episode = alchemy(view)
        held = [element for element, count in sorted(episode.stock.items()) if count] or [0]
        first, second = sorted((rng.choice(held), rng.choice(held)))
        return text.reply(episode.words, None, (first, second), view.rendering)

    def update(self, view: PolicyView, rng: Random) -> str:
        return text.hint_from(view.world, [], view.rendering)


class Demonstrator:
    """Uses hints well and writes them carelessly, so that the warm start leaves the writing to RL.

    Solve: want the target or what is missing for it; mix its recipe where that is known, else two elements of the tier
    below of which nothing is known yet. Update: keep each known recipe with some probability, sometimes add a wrong
    one, and write them in the order of their products: what is written already then tells what can still come.
    """

    def __init__(self, keep_fact: float, wrong_fact: float) -> None:
        self._keep, self._wrong = keep_fact, wrong_fact

    def solve(self, view: PolicyView, rng: Random) -> str:
        episode = alchemy(view)
        known = _known(view)
        search = _thrifty if episode.is_limited else _search
        wanted, pair = search(episode, known, episode.task.target, rng)
        if view.rendering == "compact":
            return text.reply(episode.words, wanted, pair, "compact")
        tier_of = episode.world.tier_of
        source: Source = "none" if pair in known or tier_of[pair[0]] != tier_of[pair[1]] else "untried"
        if known.get(pair) == wanted:
            source = "seen" if pair in seen_in([episode], episode.world) else "hints"
        said = thought(episode, wanted, pair, source, rng)
        return f"{said}\n{text.reply(episode.words, None, pair, view.rendering)}"

    def update(self, view: PolicyView, rng: Random) -> str:
        world: AlchemyWorld = alchemy(view).world
        kept = [recipe for recipe in recipes_in(_known(view)) if rng.random() < self._keep]
        free = [e for e in world.craftable if e not in {product for _, product in kept}]
        if free and rng.random() < self._wrong:
            product = rng.choice(free)
            first, second = sorted(rng.choices(world.below(product), k=2))
            kept.append(((first, second), product))
        kept.sort(key=lambda recipe: recipe[1])
        return text.hint_from(world, kept, view.rendering)


def all_recipes(world: AlchemyWorld) -> list[tuple[Pair, int]]:
    return [(pair, product) for product in world.craftable for pair in world.recipes[product]]


def _known(view: PolicyView) -> Outcomes:
    """Outcomes from the hints in force, overruled by what was seen in this episode."""
    world = alchemy(view).world
    return seen_in([view.episode], world, told_by(view.hints, world))


def _search(episode: AlchemyEpisode, known: Outcomes, wanted: int, rng: Random) -> tuple[int, Pair]:
    """What to make now in order to have `wanted`, and of which pair."""
    world, below = episode.world, episode.world.below(wanted)
    recipe = next((pair for pair, product in known.items() if product == wanted), None)
    if recipe is not None:
        lacking = episode.lacking(recipe)
        if lacking is None or lacking not in world.craftable:
            return wanted, recipe
        return _search(episode, known, lacking, rng)
    pairs = list(combinations_with_replacement(below, 2))
    untried = [pair for pair in pairs if pair not in known]
    at_hand = [pair for pair in untried if episode.lacking(pair) is None]
    missing = [e for e in below if e in world.craftable and not episode.stock.get(e)]
    if at_hand or not missing:
        return wanted, rng.choice(at_hand or untried or pairs)
    return _search(episode, known, rng.choice(missing), rng)


def _thrifty(episode: AlchemyEpisode, known: Outcomes, target: int, rng: Random) -> tuple[int, Pair]:
    """The same where each mix uses up material: the cheapest try first, and nothing that there is too little for."""
    world = episode.world
    pair = next_pair(episode, known)
    if pair is None:  # nothing can save this task
        held = [element for element, count in sorted(episode.stock.items()) if count]
        at_hand = [pair for pair in world.pairs(held) if episode.lacking(pair) is None]
        pair = rng.choice(at_hand or [(0, 0)])
    product = known.get(pair)
    if product is not None:
        return product, pair
    tier = world.tier_of[pair[0]] + 1
    if tier >= world.tier_of[target]:
        return target, pair
    made = {made for made in known.values() if made is not None}
    return rng.choice([e for e in world.tiers[tier] if e not in made] or list(world.tiers[tier])), pair


def make_policy(name: str, options: Mapping[str, float]) -> Policy:
    policies: dict[str, type[Policy]] = {"bayes": BayesPolicy, "informed": InformedPolicy, "random": RandomPolicy}
    return agent(name, options, policies, Demonstrator)
