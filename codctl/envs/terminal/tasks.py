"""A task is a sequence of steps. What must hold at the end follows from them, as does every way to do them.

The end is checked against the live machines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from codctl.envs.terminal.filesystem import File, Folder, Node, Parts, files, find
from codctl.envs.terminal.rules import HouseRules
from codctl.envs.terminal.sites import Side, Site

if TYPE_CHECKING:
    from codctl.envs.terminal.shell import Shell


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


Texts = frozenset[tuple[str, str]]  # name and text of files


@dataclass(frozen=True)
class Want:
    """What there shall be at a path.

    Attributes:
        kind: `gone` is nothing at the path, `deleted` besides that no file with its text anywhere on the machine (moved
            away is not deleted), `holds` a folder with certain files somewhere in it.
        texts: For a file its text under "", for an archive or `holds` names and texts of files.
        mode: Its mode, where that matters.
    """

    kind: Literal["gone", "deleted", "file", "folder", "archive", "holds"]
    texts: Texts = frozenset()
    mode: int | None = None


GONE, FOLDER = Want("gone"), Want("folder")


@dataclass(frozen=True)
class Check:
    """One condition. `label` is the path as the task has it, so that no message gives the drop folder away."""

    side: Side
    path: Parts
    label: Parts
    want: Want

    def problem(self, shell: Shell) -> str:
        """What is wrong, in a few words, or nothing."""
        root = shell.machines[self.side].root
        node = find(root, self.path)
        if self.want.kind in ("gone", "deleted"):
            moved = node is None and self.want.kind == "deleted" and _has_text(root, self.want.texts)
            return "was moved, not deleted" if moved else "" if node is None else "is still there"
        if node is None:
            return "is missing"
        if self.want.kind == "folder":
            return "" if isinstance(node, Folder) else "is not a folder"
        found = wanted(node)
        if found.kind != {"holds": "folder"}.get(self.want.kind, self.want.kind):
            return f"is not {'a folder' if self.want.kind == 'holds' else 'the right ' + self.want.kind}"
        if not self.want.texts <= texts_of(node):
            return "does not have the right content"
        if self.want.mode is not None and node.mode != self.want.mode:
            return "does not have the right mode"
        return ""


def goal(steps: Sequence[Step], site: Site, rules: HouseRules | None) -> tuple[Check, ...]:
    """The conditions that hold once the steps are done: what a later step undoes is not asked for."""
    drop = rules.truth["drop"] if rules else ""
    wants: dict[tuple[Side, Parts], Want] = {}
    for step in steps:
        source = (step.side, step.source)
        target = (step.target_side, step.target)
        before = wants.get(source) or _present(site, step, drop)
        if step.verb == "erase":
            wants[source] = Want("deleted", before.texts)
        if step.verb == "move":
            wants[source] = GONE
        if step.verb in ("send", "fetch", "move", "copy"):
            wants[target] = before
        elif step.verb == "mode":
            wants[source] = replace(before, mode=step.mode or int(rules.truth["mode"] if rules else "755", 8))
        elif step.verb == "make":
            wants[source] = FOLDER
        elif step.verb == "pack":
            wants[target] = Want("archive", before.texts)
        elif step.verb == "unpack":
            wants[target] = Want("holds", before.texts)
    return tuple(Check(side, fill_in(path, drop), path, want) for (side, path), want in wants.items())


def wanted(node: Node) -> Want:
    """A node as a want that it meets."""
    if isinstance(node, Folder):
        return Want("folder", texts_of(node))
    return Want("archive" if node.packed else "file", texts_of(node))


def texts_of(node: Node) -> Texts:
    """The texts of a file (under no name), or of all files in an archive or a folder."""
    if isinstance(node, File) and node.packed is None:
        return frozenset({("", node.text)})
    inside = node.packed if isinstance(node, File) else node
    assert inside is not None
    return frozenset((name, file.text) for name, file in files(inside))


def _has_text(root: Folder, texts: Texts) -> bool:
    sought = {text for _, text in texts}
    return any(file.text in sought for _, file in files(root))


def _present(site: Site, step: Step, drop: str) -> Want:
    node = find(site.side(step.side).root, fill_in(step.source, drop))
    return wanted(node) if node is not None else GONE
