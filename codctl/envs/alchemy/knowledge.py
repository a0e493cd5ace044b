"""What is known of a world: the outcome of pairs, from what was seen and from hints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

from codctl.envs.alchemy.claims import claims
from codctl.envs.alchemy.presets import pairs_of
from codctl.envs.alchemy.world import AlchemyEpisode, AlchemyWorld, Pair
from codctl.envs.base import Episode

Outcomes = dict[Pair, int | None]  # pair → what it makes, None: nothing; the oldest first


def note(outcomes: Outcomes, pair: Pair, product: int | None, world: AlchemyWorld) -> None:
    """Add an outcome. Where accounts contradict each other (the world changed, or someone lied), the newer counts."""
    outcomes.pop(pair, None)
    if product is not None:
        rivals = [other for other, made in outcomes.items() if made == product]
        for other in rivals[: max(0, len(rivals) + 1 - world.preset.recipes[1])]:
            del outcomes[other]
    outcomes[pair] = product


def seen_in(episodes: Iterable[Episode], world: AlchemyWorld, before: Outcomes | None = None) -> Outcomes:
    """Outcomes that episodes showed, the oldest episode first, on top of what was held `before`."""
    outcomes = dict(before or {})
    for episode in episodes:
        # Distractors may be of another family, or of this one with other elements.
        if isinstance(episode, AlchemyEpisode) and episode.world.names == world.names:
            for mix in episode.mixes:
                if mix.is_fact and mix.pair is not None:
                    note(outcomes, mix.pair, mix.product, world)
    return outcomes


def believed(episodes: Sequence[Episode], world: AlchemyWorld) -> Outcomes:
    """All that episodes showed, the oldest episode first, as far back as it holds together.

    From the newest back, an episode that contradicts the newer ones ends the memory: the world has changed, or someone
    lied.
    """
    outcomes: Outcomes = {}
    for episode in reversed(episodes):
        older = seen_in([episode], world)
        if any(outcomes.get(pair, product) != product for pair, product in older.items()):
            break
        merged = {**older, **outcomes}
        if not is_possible(merged, world):
            break
        outcomes = merged
    return outcomes


def is_possible(outcomes: Outcomes, world: AlchemyWorld) -> bool:
    """Whether some world of these elements has these outcomes."""
    made = Counter(product for product in outcomes.values() if product is not None)
    if made and max(made.values()) > world.preset.recipes[1]:
        return False
    tried = Counter(world.tier_of[pair[0]] for pair in outcomes if world.tier_of[pair[0]] == world.tier_of[pair[1]])
    return all(
        sum(element not in made for element in tier) <= pairs_of(len(below)) - tried[number]
        for number, (below, tier) in enumerate(pairwise(world.tiers))
    )


def told_by(hints: str, world: AlchemyWorld) -> Outcomes:
    """Outcomes that a hint claims and that the rules allow."""
    outcomes: Outcomes = {}
    for pair, product in claims(hints, world):
        if product is None or (product in world.craftable and all(e in world.below(product) for e in pair)):
            note(outcomes, pair, product, world)
    return outcomes


def recipes_in(outcomes: Outcomes) -> list[tuple[Pair, int]]:
    return [(pair, product) for pair, product in outcomes.items() if product is not None]
