"""A task is a sequence of steps. What must hold at the end follows from them, as does every way to do them."""

from __future__ import annotations

from dataclasses import dataclass

from codctl.envs.terminal.filesystem import Parts
from codctl.envs.terminal.rules import HouseRules
from codctl.envs.terminal.sites import Side, Site

DROP = "<drop>"  # stands in paths for the name of the drop folder
MAX_STEPS = 12


@dataclass(frozen=True)
class Step:
    """One thing to get done.

    Attributes:
        verb: One of rules.VERBS, or fetch (send from the remote machine) or mode.
        side: The machine of the source.
        source: What it is done to; for pack the folder, for unpack the archive.
        target: Where to, with the name it has there: for pack the archive, for unpack the folder.
        mode: The mode to give; 0 is the one that the house rules allow.
    """

    verb: str
    side: Side
    source: Parts
    target: Parts = ()
    mode: int = 0

    @property
    def target_side(self) -> Side:
        return {"send": "remote", "fetch": "local"}.get(self.verb, self.side)  # type: ignore[return-value]

    @property
    def tool_verb(self) -> str:
        """The verb of the house tool that does it; "" for mode."""
        return {"fetch": "send", "mode": ""}.get(self.verb, self.verb)


@dataclass(frozen=True)
class TerminalWorld:
    """What the tasks of a pack share: with `paper` nothing, with `shared_world` a site and its hidden rules."""

    site: Site | None = None
    rules: HouseRules | None = None


@dataclass(frozen=True)
class TerminalTask:
    """Steps to get done, in the task's own site or the world's."""

    kind: str
    steps: tuple[Step, ...]
    site: Site | None = None

    def site_in(self, world: TerminalWorld) -> Site:
        site = self.site or world.site
        assert site
        return site


def fill_in(path: Parts, drop: str) -> Parts:
    """A path with the name of the drop folder where it is left open."""
    return tuple(drop if part == DROP else part for part in path)
