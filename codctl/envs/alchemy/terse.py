"""Alchemy-Random in the terse rendering: plain English, one line a round."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import TYPE_CHECKING

from codctl.envs.alchemy.presets import Preset

if TYPE_CHECKING:
    from codctl.envs.alchemy.world import AlchemyEpisode, Mix, Pair

_RULES = """\
You are an alchemist. Mix two elements at a time until you have made the target. {recipes} The recipes are hidden, \
but they stay the same in later tasks. Other pairs make nothing. {material}"""
_RECIPES = "Each element above tier 0 is made of two elements of the tier just below, or of one of them twice."
_PUBLISHED = "Two elements make an element of a higher tier than both, if they are a recipe."
_UNLIMITED = "Elements are not used up."
_LIMITED = "Each mix uses up both elements."


def rules(preset: Preset) -> str:
    recipes = _PUBLISHED if preset.published else _RECIPES
    material = _LIMITED if preset.surplus else _UNLIMITED
    return _RULES.format(recipes=recipes, material=material)


def first_observation(episode: AlchemyEpisode) -> str:
    world = episode.world
    tiers = [f"Tier {n}: {', '.join(world.names[e] for e in tier)}." for n, tier in enumerate(world.tiers)]
    return " ".join([*tiers, _state(episode)])


def next_observation(episode: AlchemyEpisode) -> str:
    return f"{_effect(episode, episode.mixes[-1])} {_state(episode)}"


def transcript(episode: AlchemyEpisode) -> str:
    target = episode.words[episode.task.target]
    return " ".join([f"Make {target}.", *(_effect(episode, mix) for mix in episode.mixes)])


def hint_from(words: tuple[str, ...], known: Iterable[tuple[Pair, int]]) -> str:
    return " ".join(f"{words[a]} + {words[b]} makes {words[made]}." for (a, b), made in known) or "Nothing noted yet."


def thought(words: tuple[str, ...], wanted: int, pair: Pair, *, known: bool, rng: Random) -> str:
    """What the demonstrator says before its answer. A try must not sound like a fact."""
    make, mix = words[wanted], f"{words[pair[0]]} + {words[pair[1]]}"
    facts = (f"I make {make}: {mix} makes {make}.", f"{mix} makes {make}, and I need {make}.")
    tries = (f"I want {make} and try {mix}.", f"To get {make}, I try {mix}.")
    return rng.choice(facts if known else tries)


def _effect(episode: AlchemyEpisode, mix: Mix) -> str:
    both, words = " + ".join(mix.written), episode.words
    if mix.pair is None:
        return f"{both}: there is no {next(name for name in mix.written if name not in words)}."
    if mix.lacking is not None:
        return f"{both}: you do not have enough {words[mix.lacking]}."
    return f"{both} makes {'nothing' if mix.product is None else words[mix.product]}."


def _state(episode: AlchemyEpisode) -> str:
    words, world = episode.words, episode.world
    left = episode.max_turns - episode.turns
    held = [e for e, count in sorted(episode.stock.items()) if count]
    if episode.is_limited:
        have = ", ".join(f"{episode.stock[e]} {words[e]}" for e in held) or "nothing"
    else:
        have = " and ".join(["all of tier 0", ", ".join(words[e] for e in held if e in world.craftable)]).removesuffix(
            " and "
        )
    target = words[episode.task.target]
    return f"You have {have}. Make {target}. {left} round{'' if left == 1 else 's'} left."
