"""Alchemy-Random as a family."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from types import MappingProxyType

from codctl.envs.alchemy import generator, published, text, trinity
from codctl.envs.alchemy.claims import claims
from codctl.envs.alchemy.knowledge import recipes_in, seen_in
from codctl.envs.alchemy.policies import all_recipes, make_policy
from codctl.envs.alchemy.presets import PAPER_PRESETS, PRESETS
from codctl.envs.alchemy.text import typed_mix
from codctl.envs.alchemy.world import AlchemyEpisode, AlchemyTask, AlchemyWorld
from codctl.envs.base import Episode, Family, HintScore, Policy, Rendering
from codctl.envs.solve_prompt import ReplyForm
from codctl.envs.trinity import pack_seed

_SHORTEST_CLASS = 8


class Alchemy(Family):
    """Hidden facts: which two elements make which."""

    name = "alchemy"
    title = "Alchemy-Random: mix elements to reach a target by recipes that are hidden"
    presets = tuple(PRESETS)
    variants = ("default", "paper", "trinity")
    reference = "remembers all outcomes; best plan for the current task, exact in tiny and easy of default"
    losses = MappingProxyType({"material": "ran out of material"})
    learnable = MappingProxyType(dict.fromkeys(variants, True))
    stable_length = _SHORTEST_CLASS
    asks = "mix (NAME + NAME)"

    def in_variant(self, variant: str) -> Family:
        return self if variant == "default" else _PAPER

    def edition(self, preset: str, variant: str) -> int:
        return 2 if preset == "hard" or (preset, variant) == ("easy", "paper") else 1

    def sample(
        self, rng: Random, length: int, preset: str, variant: str
    ) -> tuple[AlchemyWorld, tuple[AlchemyTask, ...]]:
        """`default` has a different target for each task; `paper` draws as published, with few elements."""
        bounds = PAPER_PRESETS[preset] if variant == "paper" else replace(PRESETS[preset], targets="all")
        if bounds.published:
            world = published.sample_world(rng, bounds)
            return world, published.sample_tasks(rng, world, length)
        world = generator.sample_world(rng, bounds, 0 if preset == "tiny" else length_class(length))
        return world, generator.sample_tasks(rng, world, length)

    def begin(self, world: AlchemyWorld, task: AlchemyTask, rendering: Rendering) -> AlchemyEpisode:
        return AlchemyEpisode(world, task, rendering)

    def redraw(self, world: AlchemyWorld, rng: Random) -> AlchemyWorld:
        return published.redraw(rng, world) if world.preset.published else generator.redraw(rng, world)

    def rules(self, preset: str, rendering: Rendering = "full") -> str:
        return text.rules(rendering, PRESETS[preset])

    def reply_form(self, preset: str) -> ReplyForm:
        return text.FORM

    def facts(self, world: AlchemyWorld) -> int:
        return len(world.products)

    def truth(self, world: AlchemyWorld, rendering: Rendering) -> str:
        return text.hint_from(world, all_recipes(world), rendering)

    def partial_truth(self, world: AlchemyWorld, rendering: Rendering, rng: Random) -> str:
        # In any order: a model that found facts by their place alone would not find them in a later turn.
        recipes = all_recipes(world)
        kept = rng.sample(recipes, rng.randint(0, len(recipes)))
        return text.hint_from(world, kept, rendering) if kept else ""

    def score_context(self, world: AlchemyWorld, hints: str, seen: Sequence[Episode]) -> HintScore:
        """A recipe is knowable once its mix was seen; what could be concluded from failures alone does not count."""
        claimed = [(claim.pair, claim.product) for claim in claims(hints, world) if claim.product is not None]
        by_pair = Counter(pair for pair, _ in claimed)
        by_product = Counter(product for _, product in claimed)
        # A pair that makes two things, or a product with more recipes than there can be, is not known.
        right = {
            (pair, product)
            for pair, product in claimed
            if by_pair[pair] == 1
            and by_product[product] <= world.preset.recipes[1]
            and world.products.get(pair) == product
        }
        knowable = set(recipes_in(seen_in(seen, world)))
        return HintScore.of(set(claimed), right, set(all_recipes(world)), knowable)

    def typed(self, episode: Episode, text: str) -> str:
        assert isinstance(episode, AlchemyEpisode)
        return typed_mix(text, episode.words)

    def answered(self, episode: Episode, action: str) -> str:
        assert isinstance(episode, AlchemyEpisode)
        return action if episode.rendering == "compact" else text.answered(action, episode.words)

    def policy(self, name: str, **options: float) -> Policy:
        self.check_policy(name)
        return make_policy(name, options)


class PaperAlchemy(Alchemy):
    """The variants `paper` and `trinity`. What a pack's targets are depends on its length.

    A few hard tasks lack material.
    """

    stable_length = 1
    unsolvable = 0.04

    def draw(
        self, split: str, index: int, length: int, preset: str, variant: str
    ) -> tuple[AlchemyWorld, Sequence[AlchemyTask]]:
        if variant != "trinity":
            return super().draw(split, index, length, preset, variant)
        world, tasks = trinity.draw(pack_seed(split, index, length), length, preset)
        seeds = trinity.row_seeds(split, index, length, preset)
        return world, [trinity.supplied(task, seed, preset) for task, seed in zip(tasks, seeds, strict=True)]

    def rules(self, preset: str, rendering: Rendering = "full") -> str:
        return text.rules(rendering, PAPER_PRESETS[preset])


_PAPER = PaperAlchemy()


def length_class(length: int) -> int:
    """Pack lengths up to the same power of two (8, 16, 32, …) share their worlds, so that they are prefixes."""
    return max(_SHORTEST_CLASS, 1 << (length - 1).bit_length())
