"""Control contexts: where the hints come from when an effect must be told apart from its look-alikes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from codctl.cod.context import Revision
from codctl.cod.rollout import Hints, OwnHints
from codctl.cod.trajectory import Trajectory
from codctl.envs.base import Episode, Pack, Rendering

ARMS = {
    "own": "hints that the model wrote itself (CoD)",
    "none": "no hints at all",
    "shuffled": "hints that the model wrote in another pack",
    "oracle": "the hidden truth as a hint",
    "history": "the raw trajectories so far instead of a hint",
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
    """Hints of the same position, written in the next pack of the list (the first follows the last)."""

    donated: Mapping[str, Sequence[str]]
    updates: bool = False

    def at(self, pack: Pack, position: int, own: Revision, past: Sequence[Episode]) -> str:
        return self.donated[pack.id][position]


def shuffle(own: Sequence[Trajectory]) -> ShuffledHints:
    """The `shuffled` arm from the trajectories of the `own` arm, one per pack."""
    donors = [*own[1:], own[0]]
    return ShuffledHints({t.pack: [e.hints for e in d.of("solve")] for t, d in zip(own, donors, strict=True)})


def hints_for(arm: str, rendering: Rendering, own: Sequence[Trajectory]) -> Hints:
    """The source of hints of an arm; `shuffled` needs the trajectories of `own`."""
    if arm == "shuffled":
        return shuffle(own)
    sources: dict[str, Hints] = {
        "own": OwnHints(),
        "none": NoHints(),
        "oracle": OracleHints(rendering),
        "history": HistoryHints(rendering),
    }
    return sources[arm]
