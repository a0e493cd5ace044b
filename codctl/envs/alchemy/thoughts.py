"""What the demonstrator says before it answers: what it wants to make, and what it knows or tries."""

from __future__ import annotations

from random import Random
from typing import Literal

from codctl.envs.alchemy import terse
from codctl.envs.alchemy.world import AlchemyEpisode, Pair

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
