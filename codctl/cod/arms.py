"""Control contexts: where the hints come from when an effect must be told apart from its look-alikes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from codctl.cod.context import Revision
from codctl.cod.rollout import Hints, OwnHints
from codctl.config.nearest import unknown
from codctl.envs.base import Episode, Pack, Rendering

ARMS = {
    "own": "hints that the model wrote itself (CoD)",
    "none": "no hints at all",
    "shuffled": "hints that the model wrote in another pack",
    "oracle": "the hidden truth as a hint",
    "history": "the raw trajectories so far instead of a hint",
}

NAMES = {
    "own": "own hints",
    "none": "no hints",
    "shuffled": "hints of another pack",
    "oracle": "the truth as a hint",
    "history": "past tasks instead of a hint",
}


class NoHints:
    updates = False

    def at(self, pack: Pack, position: int, own: Revision, past: Sequence[Episode]) -> str:
        return ""


@dataclass(frozen=True)
class OracleHints:
    rendering: Rendering
    updates: bool = False

    def at(self, pack: Pack, position: int, own: Revision, past: Sequence[Episode]) -> str:
        slot = pack.slots[position]
        return slot.family.truth(slot.world, self.rendering)


@dataclass(frozen=True)
class HistoryHints:
    rendering: Rendering
    updates: bool = False

    def at(self, pack: Pack, position: int, own: Revision, past: Sequence[Episode]) -> str:
        return (" " if self.rendering == "compact" else "\n\n").join(episode.transcript() for episode in past)


@dataclass(frozen=True)
class ShuffledHints:
    """Hints of the same position, written in another pack.

    Attributes:
        donated: For each pack the hints that another one's trajectory had, by position.
    """

    donated: Mapping[str, Sequence[str]]
    updates: bool = False

    def at(self, pack: Pack, position: int, own: Revision, past: Sequence[Episode]) -> str:
        return self.donated[pack.id][position]


def check_arms(arms: Sequence[str]) -> None:
    """Raise UsageError unless all arms exist."""
    for arm in arms:
        if arm not in ARMS:
            raise unknown("arm", arm, list(ARMS), "arms=[own,none]")


def play_order(arms: Sequence[str]) -> list[str]:
    """The arms to play: `shuffled` hands out what `own` wrote, so `own` comes first whenever either is asked for."""
    needed = ["own"] if {"own", "shuffled"} & set(arms) else []
    return [*needed, *(arm for arm in dict.fromkeys(arms) if arm != "own")]


def hints_for(arm: str, rendering: Rendering, donated: Mapping[str, Sequence[str]]) -> Hints:
    """The source of hints of an arm; `donated` is for `shuffled`."""
    sources: dict[str, Hints] = {
        "own": OwnHints(),
        "none": NoHints(),
        "shuffled": ShuffledHints(donated),
        "oracle": OracleHints(rendering),
        "history": HistoryHints(rendering),
    }
    return sources[arm]
