"""What must hold at the end of a task, checked against the live machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from codctl.envs.terminal.filesystem import File, Folder, Node, Parts, files, find
from codctl.envs.terminal.rules import HouseRules
from codctl.envs.terminal.sites import Side, Site
from codctl.envs.terminal.tasks import Step, fill_in

if TYPE_CHECKING:
    from codctl.envs.terminal.shell import Shell

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
