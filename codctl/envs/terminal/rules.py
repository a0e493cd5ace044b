"""House rules: the hidden facts of a shared world, and what commands reveal of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from random import Random

VERBS = ("send", "pack", "unpack", "erase", "move", "copy", "make")
SLOTS = (*VERBS, "port", "drop", "mode")
LISTS = ("tools", "ports", "drops", "modes")
TOOLS = ("opt", "tools")  # where the house tools lie
SERVICE = "srv"  # the folder whose only writable folder is the drop folder
REPLACED = {
    "send": ("scp", "rsync"),
    "pack": ("tar", "zip", "gzip"),
    "unpack": ("unzip", "gunzip"),
    "erase": ("rm", "del"),
    "move": ("mv", "move", "ren"),
    "copy": ("cp", "copy"),
    "make": ("mkdir",),
}
VERB_OF = {name: verb for verb, names in REPLACED.items() for name in names}


def list_of(slot: str) -> str:
    """The list among whose values the value of a slot is."""
    return "tools" if slot in VERBS else f"{slot}s"


@dataclass(frozen=True)
class Lesson:
    """That `value` is, or is not, the value of a slot. A slot of LISTS: that its values are known from now on."""

    slot: str
    value: str
    holds: bool


@dataclass(frozen=True)
class Surface:
    """What of the rules lies open: among which values each slot has its own. Stays when the rules change.

    Attributes:
        tools: Names of the house tools; more than there are verbs, the rest is retired.
        ports: Ports of the remote host.
        drops: Folders under /srv.
        modes: Modes for scripts, as octal digits.
    """

    tools: tuple[str, ...]
    ports: tuple[str, ...]
    drops: tuple[str, ...]
    modes: tuple[str, ...]

    def of(self, slot: str) -> tuple[str, ...]:
        """The values that a slot may have."""
        lists = {"port": self.ports, "drop": self.drops, "mode": self.modes}
        return lists.get(slot, self.tools)


@dataclass(frozen=True)
class HouseRules:
    """The value of every slot, in the order of SLOTS."""

    surface: Surface
    values: tuple[str, ...]

    @cached_property
    def truth(self) -> Mapping[str, str]:
        return dict(zip(SLOTS, self.values, strict=True))

    @cached_property
    def verb_of_tool(self) -> Mapping[str, str]:
        """What each tool is for; "" for a retired one."""
        verbs = {self.truth[verb]: verb for verb in VERBS}
        return {tool: verbs.get(tool, "") for tool in self.surface.tools}

    def about_tool(self, tool: str) -> tuple[Lesson, ...]:
        """What one learns when a tool says what it is for."""
        verb = self.verb_of_tool[tool]
        if verb:
            return (Lesson(verb, tool, True),)
        return tuple(Lesson(other, tool, False) for other in VERBS)

    def listing(self, slot: str) -> tuple[Lesson, ...]:
        """What one learns from a message that lists the values of a slot."""
        return (Lesson(list_of(slot), "", True),)

    def about(self, slot: str, value: str) -> tuple[Lesson, ...]:
        """What one learns from the answer to a tried value."""
        return (Lesson(slot, value, self.truth[slot] == value),) if value in self.surface.of(slot) else ()


def draw_rules(rng: Random, surface: Surface) -> HouseRules:
    """Every slot independently, except that no tool has two verbs."""
    tools = rng.sample(surface.tools, len(VERBS))
    return HouseRules(surface, (*tools, *(rng.choice(surface.of(slot)) for slot in SLOTS[len(VERBS) :])))
