"""Immutable file trees. A change gives a new tree that shares all else with the old one.

So episodes share the tree of their world, a snapshot costs nothing, and a failed command is undone by forgetting.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

Parts = tuple[str, ...]  # a path from the root; () is the root


@dataclass(frozen=True, slots=True)
class File:
    """A file. `system` files belong to root.

    Attributes:
        archive: "", or the format: tar, tgz, zip, gz, house.
        packed: What an archive holds.
    """

    text: str = ""
    mode: int = 0o644
    system: bool = False
    archive: str = ""
    packed: Folder | None = None

    @property
    def nodes(self) -> int:
        return 1 + (self.packed.nodes if self.packed else 0)

    @property
    def height(self) -> int:
        return self.packed.height if self.packed else 0


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder; `entries` is never changed. Made by `folder`, which counts.

    Attributes:
        nodes: Files and folders in it and below, itself included.
        height: Levels of folders, itself included. Both include what archives hold.
    """

    entries: Mapping[str, Node]
    mode: int
    system: bool
    nodes: int
    height: int


Node = File | Folder


def folder(entries: Mapping[str, Node] | None = None, mode: int = 0o755, system: bool = False) -> Folder:
    held = entries or {}
    nodes, height = 1, 0
    for node in held.values():
        nodes += node.nodes
        height = max(height, node.height)
    return Folder(held, mode, system, nodes, height + 1)


def find(root: Folder, path: Parts) -> Node | None:
    """The node at a path, or None."""
    node: Node = root
    for part in path:
        if not isinstance(node, Folder):
            return None
        below = node.entries.get(part)
        if below is None:
            return None
        node = below
    return node


def put(root: Folder, path: Parts, node: Node) -> Folder:
    """The tree with `node` at `path`, whose parent must be a folder."""
    if not path:
        assert isinstance(node, Folder)
        return node
    below = node
    if len(path) > 1:
        child = root.entries[path[0]]
        assert isinstance(child, Folder)
        below = put(child, path[1:], node)
    return folder({**root.entries, path[0]: below}, root.mode, root.system)


def without(root: Folder, path: Parts) -> Folder:
    """The tree without what is at `path`, which must exist."""
    if len(path) > 1:
        child = root.entries[path[0]]
        assert isinstance(child, Folder)
        return folder({**root.entries, path[0]: without(child, path[1:])}, root.mode, root.system)
    return folder({name: node for name, node in root.entries.items() if name != path[0]}, root.mode, root.system)


def merge(old: Node | None, new: Node) -> Node | None:
    """`new` laid over `old`, or None when a file would replace a folder or the reverse."""
    if not isinstance(old, Folder) or not isinstance(new, Folder):
        return new if old is None or isinstance(old, Folder) == isinstance(new, Folder) else None
    entries = dict(old.entries)
    for name, node in new.entries.items():
        merged = merge(entries.get(name), node)
        if merged is None:
            return None
        entries[name] = merged
    return folder(entries, old.mode, old.system)


def owned(node: Node) -> Node:
    """A copy that belongs to the user."""
    if isinstance(node, File):
        return replace(node, system=False) if node.system else node
    return folder({name: owned(below) for name, below in node.entries.items()}, node.mode)


def with_mode(node: Node, mode: int) -> Node:
    return replace(node, mode=mode)


def files(node: Node, name: str = "") -> Iterator[tuple[str, File]]:
    """All files at or below a node, with their names; not what archives hold."""
    if isinstance(node, File):
        yield name, node
    else:
        for below_name, below in node.entries.items():
            yield from files(below, below_name)
