"""Every text of Alchemy-Random; those of the terse rendering are in `terse`.

`compact` writes what was seen as `m=a+b`, one word and for a fitting tokenizer one token: recalling or noting a fact is
then one look back, which a model of two layers learns in minutes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from codctl.envs.alchemy import terse
from codctl.envs.alchemy.presets import Preset
from codctl.envs.base import Rendering, undecorated
from codctl.envs.solve_prompt import ReplyForm

if TYPE_CHECKING:
    from codctl.envs.alchemy.world import AlchemyEpisode, AlchemyWorld, Mix, Pair

DUD = "dud"  # stands for a product where there is none
EXAMPLE: dict[Rendering, str] = {"full": "name + name", "terse": "name + name", "compact": "a+b"}

_RULES = """\
You are an alchemist. Mix two elements at a time until you have made the target.

Elements come in tiers. {recipes} The order of the two does not matter, and an element can be mixed with itself. A \
pair that is not a recipe makes nothing. The recipes are hidden, but they stay the same in every task of this series. \
The names are made up and mean nothing.

{material} Every mix takes one round, even one for which you lack an element.

Making the target ends the task with reward 1; the fewer rounds you use, the better. Running out of rounds, or a \
reply that cannot be read, ends the task with reward 0.

Use your rounds both to make the target and to find out recipes: what you find out helps you in the later tasks of \
this series."""
FORM = ReplyForm(
    ask="choose two elements by name.",
    action="ab + cd",
    thought="I do not know yet what ab and cd make together, so I try them.",
    terse="<answer>NAME + NAME</answer>",
)
_RECIPES = {
    1: "Each element above tier 0 has one recipe: two elements of the tier just below.",
    2: "Each element above tier 0 has one or two recipes, each of two elements of the tier just below.",
}
_PUBLISHED = "Two elements, possibly of different tiers, make an element of a higher tier than both."
_UNLIMITED = "Elements are not used up: what you have once, you can use again and again."
_LIMITED = (
    "Elements are used up: each mix takes both of its elements, even if it makes nothing, and the task also ends when "
    "nothing is left to mix."
)


def rules(rendering: Rendering, preset: Preset) -> str:
    if rendering == "compact":
        return "brew"
    if rendering == "terse":
        return terse.rules(preset)
    material = _LIMITED if preset.surplus else _UNLIMITED
    recipes = _PUBLISHED if preset.published else _RECIPES[preset.recipes[1]]
    return _RULES.format(recipes=recipes, material=material)


def first_observation(episode: AlchemyEpisode) -> str:
    if episode.rendering == "compact":
        sizes = episode.world.sizes
        tiers = f" tiers {' '.join(map(str, sizes))}" if len(sizes) > 2 else ""
        return _compact_state(episode) + tiers
    if episode.rendering == "terse":
        return terse.first_observation(episode)
    return f"Round 1 of {episode.max_turns}. Nothing is mixed yet.\n{_tiers(episode.world)}\n{_state(episode)}"


def next_observation(episode: AlchemyEpisode) -> str:
    mix = episode.mixes[-1]
    if episode.rendering == "compact":
        return f"{_compact_effect(episode, mix)} {_compact_state(episode)}"
    if episode.rendering == "terse":
        return terse.next_observation(episode)
    return f"Round {episode.turns + 1} of {episode.max_turns}. {_effect(episode, mix)}\n{_state(episode)}"


def ending(episode: AlchemyEpisode, said: str) -> str:
    """The feedback; in full it also tells what came of the last mix, which no observation shows."""
    return f"{_effect(episode, episode.mixes[-1])} {said}" if episode.rendering == "full" else said


def transcript(episode: AlchemyEpisode) -> str:
    if episode.rendering == "compact":
        return " ".join(_compact_effect(episode, mix) for mix in episode.mixes if mix.is_fact) or "none"
    if episode.rendering == "terse":
        return terse.transcript(episode)
    lines = [f"Task: make {_target(episode)} in {episode.max_turns} rounds.", _tiers(episode.world)]
    lines += [f"Round {number}: {_effect(episode, mix)}" for number, mix in enumerate(episode.mixes, 1)]
    return "\n".join(lines)


def hint_from(world: AlchemyWorld, known: Iterable[tuple[Pair, int]], rendering: Rendering) -> str:
    """Known recipes as a hint, in the order given."""
    words = world.words(rendering)
    if rendering == "compact":
        return " ".join(fact(words, pair, product) for pair, product in known) or "none"
    if rendering == "terse":
        return terse.hint_from(words, known)
    lines = [f"- {words[first]} + {words[second]} makes {words[product]}." for (first, second), product in known]
    return "\n".join(lines) or "No recipe is known yet."


def fact(words: tuple[str, ...], pair: Pair, product: int | None) -> str:
    return f"{DUD if product is None else words[product]}={words[pair[0]]}+{words[pair[1]]}"


def reply(words: tuple[str, ...], wanted: int | None, pair: Pair, rendering: Rendering) -> str:
    """A solve reply. In compact what is to be made may stand before the mix: planning and recall are separate.

    A colon tells the intention from a fact: a wrong guess must not look like something seen.
    """
    first, second = words[pair[0]], words[pair[1]]
    if rendering == "compact":
        return f"<answer> {'' if wanted is None else words[wanted] + ': '}{first}+{second} </answer>"
    return f"<answer>{first} + {second}</answer>"


_ACTION = re.compile(r"(?:[^\s:+]+\s*:)?\s*([^\s:+]+)\s*\+\s*([^\s:+]+)")


def read_action(action: str) -> tuple[str, str] | None:
    """The two names in an answer, or None; a `name:` before them is the agent's own note."""
    found = _ACTION.fullmatch(action.strip())
    return (found[1], found[2]) if found else None


def answered(action: str, words: Sequence[str]) -> str:
    """A mix as a model may write it: names in any case, with Markdown, quotes or a full stop around them."""
    sides = [undecorated(side) for side in action.split("+")]
    if len(sides) != 2 or not all(sides):
        return action
    known = {word.lower(): word for word in words}
    # Other names are no reason to end the task: the mix names an element that does not exist.
    return " + ".join(known.get(side.lower(), re.sub(r"[\s:]+", "_", side)) for side in sides)


def typed_mix(line: str, words: Sequence[str]) -> str:
    """What a person typed, as a mix: two names in any case, with + , "and" or only a space between them.

    Raises:
        ValueError: It is not two elements.
    """
    names = [name for name in re.split(r"[\s+,]+|(?<=\s)and(?=\s)", line) if name]
    if len(names) != 2:
        raise ValueError(f"expected the names of two elements, got {line!r}")
    known = {word.lower(): word for word in words}
    for name in names:
        if name.lower() not in known:
            raise ValueError(f"no element is called {name!r}")
    return " + ".join(known[name.lower()] for name in names)


def _compact_state(episode: AlchemyEpisode) -> str:
    world, words = episode.world, episode.words
    held = [element for element in episode.stock if episode.is_limited or element >= world.sizes[0]]
    have = [f"{words[e]}*{episode.stock[e]}" if episode.is_limited else words[e] for e in held if episode.stock[e]]
    row = f"make {words[episode.task.target]} {episode.max_turns - episode.turns}"
    # With two tiers nothing that is made can be used.
    return f"{row} have {' '.join(have)}" if have and len(world.sizes) > 2 else row


def _compact_effect(episode: AlchemyEpisode, mix: Mix) -> str:
    if mix.pair is None:
        return "unknown"
    if mix.lacking is not None:
        return f"lack={episode.words[mix.lacking]}"
    return fact(episode.words, mix.pair, mix.product)


def _effect(episode: AlchemyEpisode, mix: Mix) -> str:
    both, words = " + ".join(mix.written), episode.words
    if mix.pair is None:
        strange = next(name for name in mix.written if name not in words)
        return f"You tried {both}: no element is called {strange}, so nothing was mixed."
    if mix.lacking is not None:
        too_few = "too little" if mix.pair[0] == mix.pair[1] and episode.stock.get(mix.lacking, 0) else "none"
        return f"You tried {both}: you have {too_few} of {words[mix.lacking]}, so nothing was mixed."
    if mix.product is None:
        return f"You mixed {both}: it made nothing."
    return f"You mixed {both}: it made {words[mix.product]}."


def _tiers(world: AlchemyWorld) -> str:
    return "\n".join(f"Tier {n}: {', '.join(world.names[e] for e in tier)}" for n, tier in enumerate(world.tiers))


def _target(episode: AlchemyEpisode) -> str:
    return f"{episode.words[episode.task.target]} (tier {episode.world.tier_of[episode.task.target]})"


def _state(episode: AlchemyEpisode) -> str:
    words, stock = episode.words, sorted(episode.stock.items())
    have = [f"{words[e]} ×{count}" if episode.is_limited else words[e] for e, count in stock if count]
    return f"Target: {_target(episode)}\nYou have: {', '.join(have) or 'nothing'}"
