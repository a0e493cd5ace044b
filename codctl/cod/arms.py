"""Control contexts: where the hints come from when an effect must be told apart from its look-alikes.

An arm is a class; one outside this package is named by an entry point of the group `codctl.arms` or by
`arms=[package.module:Class]`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

from codctl.cod.context import Revision
from codctl.config.registries import ARMS
from codctl.envs.base import Episode, Pack, Rendering
from codctl.errors import PreflightError, UsageError


class Arm(ABC):
    """Where the hints of an evaluation come from.

    Args:
        rendering: Of the prompts.
        donated: For arms that borrow: for each pack the hints that `own` had in another one, by position.

    Attributes:
        title: What tables and charts call it.
        updates: Whether the model writes hints of its own as it goes.
        borrows: Whether it hands out what the arm `own` wrote, which is then played first.
    """

    title: ClassVar[str]
    updates: ClassVar[bool] = False
    borrows: ClassVar[bool] = False

    def __init__(
        self, rendering: Rendering = "full", donated: Mapping[str, Sequence[str]] = MappingProxyType({})
    ) -> None:
        self.rendering, self.donated = rendering, donated

    @abstractmethod
    def at(self, pack: Pack, position: int, own: Revision, past: Sequence[Episode]) -> str:
        """The hints that the model reads before the task at this position.

        Args:
            pack: What is played.
            position: Of the task.
            own: What the model wrote last.
            past: The episodes so far, as they were reported to the model.
        """


class OwnHints(Arm):
    """CoD as it is: what the model wrote itself."""

    title = "own hints"
    updates = True

    def at(self, pack: Pack, position: int, own: Revision, past: Sequence[Episode]) -> str:
        return own.text


class NoHints(Arm):
    title = "no hints"

    def at(self, pack: Pack, position: int, own: Revision, past: Sequence[Episode]) -> str:
        return ""


class ShuffledHints(Arm):
    """Hints of the same position, written in another pack."""

    title = "hints of another pack"
    borrows = True

    def at(self, pack: Pack, position: int, own: Revision, past: Sequence[Episode]) -> str:
        return self.donated[pack.id][position]


class OracleHints(Arm):
    title = "the truth as a hint"

    def at(self, pack: Pack, position: int, own: Revision, past: Sequence[Episode]) -> str:
        slot = pack.slots[position]
        return slot.family.truth(slot.world, self.rendering)


class HistoryHints(Arm):
    title = "past tasks instead of a hint"

    def at(self, pack: Pack, position: int, own: Revision, past: Sequence[Episode]) -> str:
        return (" " if self.rendering == "compact" else "\n\n").join(episode.transcript() for episode in past)


def arm_class(name: str) -> type[Arm]:
    """Look an arm up.

    Raises:
        UsageError: There is none of this name.
        PreflightError: It cannot be used.
    """
    found: type[Arm] = ARMS.get(name)
    return found


def title_of(name: str) -> str:
    """What tables call an arm that a result names; its name where it is not installed here."""
    try:
        return arm_class(name).title
    except (UsageError, PreflightError):
        return name


def check_arms(arms: Sequence[str]) -> None:
    """Raise UsageError unless all arms exist, and PreflightError unless all can be used."""
    for arm in arms:
        arm_class(arm)


def play_order(arms: Sequence[str]) -> list[str]:
    """The arms to play: `own` comes first where it is asked for, or where another one borrows from it."""
    needed = ["own"] if "own" in arms or any(arm_class(arm).borrows for arm in arms) else []
    return [*needed, *(arm for arm in dict.fromkeys(arms) if arm != "own")]
