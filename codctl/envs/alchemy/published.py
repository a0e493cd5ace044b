"""The published generator of recipe graphs and targets (variant `paper`).

Source: trinity/common/workflows/connect_the_dots/alchemy/random_graph.py of Trinity-RFT, with the bounds of
eval_alchemy_easy.yaml and eval_alchemy_hard.yaml in examples/research_cod/exp_plan_final/bench. With these bounds
(`max_tier_gap: 1`) both inputs come from the tier just below, and the second round of dead ends that
`noise_chain_depth: 2` provides for is always empty.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate, combinations_with_replacement
from random import Random

from codctl.envs.alchemy.presets import Preset, draw_names, shrinking
from codctl.envs.alchemy.world import AlchemyTask, AlchemyWorld, Pair


def sample_world(rng: Random, preset: Preset) -> AlchemyWorld:
    """Draw the sizes of the tiers, a share of dead ends besides, and the recipes."""
    plain = shrinking(rng.randint(*preset.base), rng.randint(*preset.tiers), rng.uniform(*preset.shrink))
    share = rng.uniform(*preset.dead_ends)
    wanted = (0, *(round(size * share) for size in plain[1:]))
    recipes, dead_ends = _draw_recipes(rng, preset, plain, wanted)
    sizes = tuple(size + extra for size, extra in zip(plain, dead_ends, strict=True))
    return AlchemyWorld(preset, sizes, draw_names(rng, sum(sizes)), recipes, dead_ends)


def redraw(rng: Random, world: AlchemyWorld) -> AlchemyWorld:
    """The same elements with other recipes; the world itself if there is only one way to make them."""
    for _ in range(100):
        recipes, dead_ends = _draw_recipes(rng, world.preset, _plain(world), world.dead_ends)
        other = replace(world, recipes=recipes)
        if dead_ends == world.dead_ends and other.products != world.products:
            return other
    return world


def sample_tasks(rng: Random, world: AlchemyWorld, length: int) -> tuple[AlchemyTask, ...]:
    """Draw targets without replacement, a tier first and higher tiers more often; shuffle them, and go round."""
    left = {
        number: list(tier[:size])
        for number, (tier, size) in enumerate(zip(world.tiers, _plain(world), strict=True))
        if number
    }
    targets: list[int] = []
    while len(targets) < length and left:
        tier = rng.choices(list(left), [number + 1 for number in left])[0]
        targets.append(left[tier].pop(rng.randrange(len(left[tier]))))
        if not left[tier]:
            del left[tier]
    rng.shuffle(targets)
    return tuple(_task(rng, world, targets[place % len(targets)]) for place in range(length))


def _task(rng: Random, world: AlchemyWorld, target: int) -> AlchemyTask:
    rounds, surplus = world.preset.rounds, world.preset.surplus
    return AlchemyTask(target, rounds, True, rng.uniform(*surplus)) if surplus else AlchemyTask(target, rounds)


def _plain(world: AlchemyWorld) -> tuple[int, ...]:
    """Sizes of the tiers without their dead ends."""
    return tuple(size - extra for size, extra in zip(world.sizes, world.dead_ends, strict=True))


def _draw_recipes(
    rng: Random, preset: Preset, plain: tuple[int, ...], wanted: tuple[int, ...]
) -> tuple[tuple[tuple[Pair, ...], ...], tuple[int, ...]]:
    """Recipes of all elements, and the dead ends of each tier: one for which no pair is left is dropped."""
    places = [
        _draw_tier(rng, preset, below, size, extra)
        for below, size, extra in zip(plain, plain[1:], wanted[1:], strict=False)
    ]
    dead_ends = (0, *(len(tier) - size for tier, size in zip(places, plain[1:], strict=True)))
    starts = [0, *accumulate(size + extra for size, extra in zip(plain, dead_ends, strict=True))]
    recipes: list[tuple[Pair, ...]] = [()] * plain[0]
    for start, tier in zip(starts, places, strict=False):
        recipes += [tuple((start + first, start + second) for first, second in pairs) for pairs in tier]
    return tuple(recipes), dead_ends


def _draw_tier(rng: Random, preset: Preset, below: int, size: int, extra: int) -> list[list[Pair]]:
    """Recipes of one tier as places in the tier below: the targets' first, then one for each dead end."""
    free = list(combinations_with_replacement(range(below), 2))

    def draw(count: int) -> list[Pair]:
        drawn = []
        for _ in range(min(count, len(free))):
            # As two elements drawn one after the other, in either order, until the pair is a new one.
            pair = rng.choices(free, [1 if first == second else 2 for first, second in free])[0]
            free.remove(pair)
            drawn.append(pair)
        return drawn

    targets = [draw(rng.randint(*preset.recipes)) for _ in range(size)]
    return targets + [pairs for _ in range(extra) if (pairs := draw(1))]
