"""Recipe graph, tasks and episodes of Alchemy-Random.

Elements are numbers, tier by tier from the base up. What they are called depends on the rendering.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, combinations_with_replacement

from codctl.envs.alchemy import text
from codctl.envs.alchemy.presets import Preset, symbols
from codctl.envs.base import Episode, Rendering, Step

Pair = tuple[int, int]  # two elements, the smaller number first


@dataclass(frozen=True)
class AlchemyWorld:
    """A recipe graph. The recipes are the hidden facts; all else may be known.

    Attributes:
        preset: The rules it was drawn by.
        sizes: Elements of each tier.
        names: Name of each element.
        recipes: For each element the pairs that make it; none for a base element.
        dead_ends: How many elements at the end of each tier are made for nothing, in the published graphs.
    """

    preset: Preset
    sizes: tuple[int, ...]
    names: tuple[str, ...]
    recipes: tuple[tuple[Pair, ...], ...]
    dead_ends: tuple[int, ...] = ()

    @cached_property
    def tiers(self) -> tuple[range, ...]:
        ends = list(accumulate(self.sizes))
        return tuple(range(end - size, end) for end, size in zip(ends, self.sizes, strict=True))

    @cached_property
    def tier_of(self) -> tuple[int, ...]:
        return tuple(number for number, tier in enumerate(self.tiers) for _ in tier)

    @cached_property
    def products(self) -> dict[Pair, int]:
        return {pair: element for element, pairs in enumerate(self.recipes) for pair in pairs}

    @cached_property
    def craftable(self) -> range:
        return range(self.sizes[0], sum(self.sizes))

    def words(self, rendering: Rendering) -> tuple[str, ...]:
        """What each element is called."""
        return symbols(self.sizes) if rendering == "compact" else self.names

    @cached_property
    def by_name(self) -> dict[str, int]:
        return {name: element for element, name in enumerate(self.names)}

    @cached_property
    def by_symbol(self) -> dict[str, int]:
        return {symbol: element for element, symbol in enumerate(symbols(self.sizes))}

    def below(self, element: int) -> range:
        """The elements of which an element is made."""
        return self.tiers[self.tier_of[element] - 1]

    def pairs(self, elements: Iterable[int]) -> list[Pair]:
        """All pairs of some elements, the likeliest recipes first."""
        pairs = list(combinations_with_replacement(elements, 2))
        # Two inputs that are drawn one after the other are twice as often two different ones in one of both orders.
        return sorted(pairs, key=lambda pair: pair[0] == pair[1]) if self.preset.published else pairs

    def published_need(self, target: int) -> int:
        """How often the published generator counts the element that it counts most often, by first recipes.

        Each element is made once. A second piece of it is counted as if it were itself at hand at the start, so some
        tasks have too little material.
        """
        needed, made = Counter[int](), Counter[int]()

        def make(element: int) -> None:
            if made[element] or not self.recipes[element]:
                return
            pair = self.recipes[element][0]
            for part in pair:
                make(part)
            needed.update(pair)
            made[element] = 1

        make(target)
        return max((needed - made).values())


@dataclass(frozen=True)
class AlchemyTask:
    """Make one element.

    Attributes:
        target: The element.
        max_turns: Rounds.
        is_limited: Whether each mix uses up its inputs.
        surplus: Material as a multiple of the need, by the published rule; 0 where the need must not show.
    """

    target: int
    max_turns: int
    is_limited: bool = False
    surplus: float = 0.0

    def stock(self, world: AlchemyWorld) -> dict[int, int]:
        """Pieces of each element at the start; of unlimited material there is one that is never used up."""
        count = 1
        if self.surplus:
            need = world.published_need(self.target)
            count = max(need, int(need * self.surplus + 0.5))
        elif self.is_limited:
            # Enough for whatever the recipes are, so that it reveals nothing: each tier doubles the need.
            count = 2 ** world.tier_of[self.target]
        return dict.fromkeys(world.tiers[0], count)


@dataclass(frozen=True)
class Mix:
    """One attempt.

    Attributes:
        written: The two names as the agent wrote them.
        pair: The elements; None when a name is unknown.
        product: What came of it; None for nothing.
        lacking: The element that was not at hand, so that nothing was mixed.
    """

    written: tuple[str, str]
    pair: Pair | None
    product: int | None = None
    lacking: int | None = None

    @property
    def is_fact(self) -> bool:
        """Whether it showed what a pair makes, be it nothing."""
        return self.pair is not None and self.lacking is None


class AlchemyEpisode(Episode):
    """One task. Reward 1 once the target is made; 0 after an unreadable reply or the last round."""

    def __init__(self, world: AlchemyWorld, task: AlchemyTask, rendering: Rendering) -> None:
        self.world = world
        self.task = task
        self.rendering = rendering
        self.words = world.words(rendering)
        self.stock = task.stock(world)
        self.is_limited = task.is_limited
        self.mixes: list[Mix] = []
        super().__init__(task.max_turns)
        self.observation = text.first_observation(self)

    def act(self, action: str) -> Step:
        if self.done:
            raise ValueError("the episode is over")
        written = text.read_action(action)
        if written is None:
            return self.fail(f"{action[:40]!r} is not two elements; write them as {text.EXAMPLE[self.rendering]}")
        self.turns += 1
        mix = self._mix(written)
        self.mixes.append(mix)
        info = {"pair": mix.pair, "product": mix.product}
        if mix.product == self.task.target:
            return self.end(1.0, text.ending(self, "You made the target."), info)
        if self.turns >= self.max_turns:
            return self.end(0.0, text.ending(self, "You ran out of rounds before you had the target."), info)
        if self.is_limited and sum(self.stock.values()) < 2:
            feedback = text.ending(self, "You ran out of material before you had the target.")
            return self.end(0.0, feedback, info, lost="material")
        return Step(text.next_observation(self), 0.0, False, info=info)

    def transcript(self) -> str:
        return text.transcript(self)

    def lacking(self, pair: Pair) -> int | None:
        """The first element of a pair of which there is too little."""
        for element in pair:
            need = 2 if self.is_limited and pair[0] == pair[1] else 1
            if self.stock.get(element, 0) < need:
                return element
        return None

    def _mix(self, written: tuple[str, str]) -> Mix:
        known = self.world.by_symbol if self.rendering == "compact" else self.world.by_name
        first, second = known.get(written[0]), known.get(written[1])
        if first is None or second is None:
            return Mix(written, None)
        pair = (first, second) if first <= second else (second, first)
        lacking = self.lacking(pair)
        if lacking is not None:
            return Mix(written, pair, lacking=lacking)
        if self.is_limited:
            for element in pair:
                self.stock[element] -= 1
        product = self.world.products.get(pair)
        if product is not None:
            self.stock[product] = self.stock.get(product, 0) + 1 if self.is_limited else 1
        return Mix(written, pair, product)
