"""The best chance to make one target whose recipe is unknown, with unlimited material: an exact dynamic programme.

What makes it small:

* Untried pairs of a tier are exchangeable: each is equally likely to make each unknown element. So are
  the unknown elements of a tier, because an element of unknown recipe was never at hand.
* Trying a pair that could make the target tells nothing else that matters. The chance of success is therefore the
  expected number of such pairs tried, divided by all that are untried; and they can be tried last.

What remains is how to spend rounds before that: on trying lower pairs in order to discover inputs, and on making known
elements, because more elements at hand are more pairs to try.
"""

from __future__ import annotations

from functools import cached_property
from itertools import combinations, combinations_with_replacement
from typing import NamedTuple

from codctl.envs.alchemy.knowledge import Outcomes
from codctl.envs.alchemy.presets import pairs_of
from codctl.envs.alchemy.world import AlchemyWorld, Pair

MOST_CHOICES = 6  # known elements of a tier that are weighed; packs of 8 rarely have more

Counts = tuple[int, ...]  # by tier


class State(NamedTuple):
    """A point of the search. Sets of elements are bit sets.

    Attributes:
        rounds: Rounds left.
        made: Elements at hand of which the recipe was known at the start.
        tries: Untried pairs that were tried since, by the tier that they make.
        found: Unknown elements that were discovered by it, by tier.
    """

    rounds: int
    made: int
    tries: Counts
    found: Counts


class Move(NamedTuple):
    """Try a pair that could make something of a tier, or make a known element of it."""

    tier: int
    element: int | None = None


class Option(NamedTuple):
    """Known elements to make before only pairs are tried that may make the target.

    Attributes:
        elements: What to make, inputs before what is made of them.
        inputs: Known elements that are then at hand of the tier below the target.
        untried: Untried pairs among these.
    """

    elements: tuple[int, ...]
    inputs: int
    untried: int

    def pairs(self, found: int, rounds: int) -> int:
        """How many pairs can be tried in time, with `found` discovered inputs besides."""
        untried = self.untried + found * self.inputs + pairs_of(found)
        return max(0, min(untried, rounds - len(self.elements)))


class Search:
    """Search for the recipe of one target.

    Args:
        world: Only what anyone may see of it.
        known: Outcomes of pairs, free of contradictions.
        at_hand: Elements in the inventory.
        target: An element of unknown recipe.
        rounds: Rounds left.
    """

    def __init__(self, world: AlchemyWorld, known: Outcomes, at_hand: set[int], target: int, rounds: int) -> None:
        self._world = world
        self._known = known
        self._recipes = {product: pair for pair, product in known.items() if product is not None}
        self._top = world.tier_of[target]
        zeros = (0,) * (self._top + 1)
        self._root = State(rounds, sum(1 << element for element in at_hand), zeros, zeros)
        self._values: dict[State, float] = {}
        self._options_after: dict[int, list[Option]] = {}
        self._pairs_within: dict[tuple[int, int], int] = {}

    def next_pair(self) -> Pair | None:
        """What to mix now; None when nothing that can be done in time leads to the target."""
        moves = self._moves(self._root)
        pairs, option = self._commit(self._root)
        move = max(moves, key=lambda move: moves[move], default=None)
        if move is not None and moves[move] > pairs + 1e-9:
            return self._untried_at_hand(move.tier) if move.element is None else self._recipes[move.element]
        if pairs == 0:
            return None
        return self._untried_at_hand(self._top) or self._recipes[option.elements[0]]

    def chance(self) -> float:
        """Probability of success."""
        return self._value(self._root) / self._untried[self._top]

    @cached_property
    def _untried(self) -> Counts:
        """Untried pairs, by the tier that they could make."""
        pairs = [pairs_of(size) for size in self._world.sizes]
        tiers = self._world.tier_of
        for first, second in self._known:
            if tiers[first] == tiers[second]:
                pairs[tiers[first]] -= 1
        return (0, *pairs)

    @cached_property
    def _unknown(self) -> Counts:
        return tuple(sum(element not in self._recipes for element in tier) for tier in self._world.tiers)

    @cached_property
    def _choices(self) -> tuple[tuple[int, ...], ...]:
        """Known elements that are not at hand, by tier: those with most untried pairs."""
        chosen: list[tuple[int, ...]] = []
        for tier in self._world.tiers:
            untried = {
                e: sum((min(e, other), max(e, other)) not in self._known for other in tier)
                for e in tier
                if e in self._recipes and not self._root.made >> e & 1
            }
            chosen.append(tuple(sorted(sorted(untried, key=lambda e: -untried[e])[:MOST_CHOICES])))
        return tuple(chosen)

    def _value(self, state: State) -> float:
        """Expected number of pairs tried that could make the target."""
        if state.rounds <= 0:
            return 0.0
        if state not in self._values:
            pairs, _ = self._commit(state)
            # One pair each round: there is nothing better.
            values = self._moves(state).values() if pairs < state.rounds else ()
            self._values[state] = max(0.0, pairs, *values)
        return self._values[state]

    def _moves(self, state: State) -> dict[Move, float]:
        """Value of each mix that is no attempt at the target."""
        values = {
            Move(tier): self._value_of_trying(state, tier)
            for tier in range(1, self._top)
            if self._unknown[tier] > state.found[tier] and self._open(state, tier) > 0
        }
        for tier in range(1, self._top - 1):
            for element in self._choices[tier]:
                inputs = self._recipes[element]
                if not state.made >> element & 1 and all(state.made >> e & 1 for e in inputs):
                    made = State(state.rounds - 1, state.made | 1 << element, state.tries, state.found)
                    values[Move(tier, element)] = self._value(made)
        return values

    def _value_of_trying(self, state: State, tier: int) -> float:
        hit = (self._unknown[tier] - state.found[tier]) / (self._untried[tier] - state.tries[tier])
        tries = _increased(state.tries, tier)
        success = State(state.rounds - 1, state.made, tries, _increased(state.found, tier))
        failure = State(state.rounds - 1, state.made, tries, state.found)
        return hit * self._value(success) + (1 - hit) * self._value(failure)

    def _open(self, state: State, tier: int) -> int:
        """Untried pairs at hand that could make an element of a tier."""
        inputs, found = self._at_hand(state.made, tier), state.found[tier - 1]
        new = found * inputs.bit_count() + pairs_of(found)
        return self._untried_within(inputs, tier) + new - state.tries[tier]

    def _at_hand(self, made: int, tier: int) -> int:
        """The inputs of a tier among the elements made, as a bit set that starts with the first of them."""
        inputs = self._world.tiers[tier - 1]
        return made >> inputs.start & (1 << len(inputs)) - 1

    def _untried_within(self, inputs: int, tier: int) -> int:
        key = (inputs, tier)
        if key not in self._pairs_within:
            start = self._world.tiers[tier - 1].start
            elements = [start + bit for bit in range(inputs.bit_length()) if inputs >> bit & 1]
            pairs = combinations_with_replacement(elements, 2)
            self._pairs_within[key] = sum(pair not in self._known for pair in pairs)
        return self._pairs_within[key]

    def _commit(self, state: State) -> tuple[int, Option]:
        """Stop exploring: the most pairs that may make the target, and what to make first for them."""
        found = state.found[self._top - 1]
        return max(
            ((option.pairs(found, state.rounds), option) for option in self._options(state.made)),
            key=lambda choice: (choice[0], -len(choice[1].elements)),
        )

    def _options(self, made: int) -> list[Option]:
        """The choices of known inputs that no other one beats at the same price."""
        if made not in self._options_after:
            best: dict[tuple[int, int], Option] = {}
            choices = [element for element in self._choices[self._top - 1] if not made >> element & 1]
            for count in range(len(choices) + 1):
                for chosen in combinations(choices, count):
                    option = self._option(made, chosen)
                    key = (len(option.elements), option.inputs)
                    if key not in best or option.untried > best[key].untried:
                        best[key] = option
            self._options_after[made] = list(best.values())
        return self._options_after[made]

    def _option(self, made: int, chosen: tuple[int, ...]) -> Option:
        needed: dict[int, None] = {}
        for element in chosen:
            self._need(element, made, needed)
        inputs = self._at_hand(made | sum(1 << element for element in chosen), self._top)
        return Option(tuple(needed), inputs.bit_count(), self._untried_within(inputs, self._top))

    def _need(self, element: int, made: int, needed: dict[int, None]) -> None:
        """Add an element and its inputs, those first, unless they are at hand or there already."""
        if made >> element & 1 or element in needed:
            return
        for part in self._recipes[element]:
            self._need(part, made, needed)
        needed[element] = None

    def _untried_at_hand(self, tier: int) -> Pair | None:
        """A pair at the root that could make an element of a tier."""
        at_hand = [e for e in self._world.tiers[tier - 1] if self._root.made >> e & 1]
        return next((pair for pair in self._world.pairs(at_hand) if pair not in self._known), None)


def _increased(counts: Counts, tier: int) -> Counts:
    return (*counts[:tier], counts[tier] + 1, *counts[tier + 1 :])
