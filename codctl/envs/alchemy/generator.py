"""The seeded generator of recipe graphs and tasks."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations_with_replacement, pairwise
from random import Random

from codctl.envs.alchemy.presets import Preset, check_sizes, draw_names, shrinking, widened
from codctl.envs.alchemy.world import AlchemyTask, AlchemyWorld, Pair


def sample_world(rng: Random, preset: Preset, least: int = 0) -> AlchemyWorld:
    """Draw a graph with at least `least` elements to make.

    Raises:
        UsageError: When no graph fits the preset.
    """
    shrink = rng.uniform(*preset.shrink)
    sizes = shrinking(rng.randint(*preset.base), rng.randint(*preset.tiers), shrink)
    check_sizes(preset, sizes)
    sizes = widened(preset, sizes, shrink, least)
    names = draw_names(rng, sum(sizes))
    return AlchemyWorld(preset, sizes, names, draw_recipes(rng, preset, sizes))


def redraw(rng: Random, world: AlchemyWorld) -> AlchemyWorld:
    """The same elements with other recipes; the world itself if there is only one way to make them."""
    for _ in range(100):
        other = replace(world, recipes=draw_recipes(rng, world.preset, world.sizes))
        if other.products != world.products:
            return other
    return world


def draw_recipes(rng: Random, preset: Preset, sizes: tuple[int, ...]) -> tuple[tuple[Pair, ...], ...]:
    dead_ends = rng.uniform(*preset.dead_ends)
    recipes: list[tuple[Pair, ...]] = [()] * sizes[0]
    for below, size in pairwise(sizes):
        tier = range(len(recipes) - below, len(recipes))
        inputs = sorted(rng.sample(tier, preset.inputs(below, dead_ends)))
        recipes += _draw_tier(rng, preset, inputs, size)
    return tuple(recipes)


def _draw_tier(rng: Random, preset: Preset, inputs: list[int], size: int) -> list[tuple[Pair, ...]]:
    """Recipes of one tier: no pair makes two things, so there may be too few pairs for all further recipes."""
    pairs = list(combinations_with_replacement(inputs, 2))
    rng.shuffle(pairs)
    drawn = [[pairs.pop()] for _ in range(size)]
    for recipes in drawn:
        for _ in range(rng.randint(*preset.recipes) - 1):
            if pairs:
                recipes.append(pairs.pop())
    return [tuple(recipes) for recipes in drawn]


def sample_tasks(rng: Random, world: AlchemyWorld, length: int) -> tuple[AlchemyTask, ...]:
    """Draw `length` tasks: a longer row begins with the shorter one."""
    rounds, is_limited = world.preset.rounds, world.preset.surplus is not None
    if world.preset.targets == "drawn":
        targets = [rng.choice(world.craftable) for _ in range(length)]
    else:
        order = rng.sample(world.craftable, len(world.craftable))
        targets = [order[place % len(order)] for place in range(length)]
    return tuple(AlchemyTask(target, rounds, is_limited) for target in targets)
