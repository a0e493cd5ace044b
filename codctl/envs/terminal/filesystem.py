"""Immutable file trees, how paths are written on each system, and what a command line can fail with.

A change gives a new tree that shares all else with the old one. So episodes share the tree of their world, a snapshot
costs nothing, and a failed command is undone by forgetting.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from codctl.envs.terminal.rules import Lesson

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


class ShellError(Exception):
    """A command failed.

    Args:
        message: What a shell would print.
        lessons: What the message teaches about the house rules.
    """

    def __init__(self, message: str, *lessons: Lesson) -> None:
        super().__init__(message)
        self.message = message
        self.lessons = lessons


class Refused(Exception):  # noqa: N818 - not an error of the program: the whole line is turned away before it runs
    """The line uses something that this shell does not have, or cannot be read."""


MAX_DEPTH = 40
MAX_NAME = 255
WINDOWS = "windows"


def read_path(text: str, system: str, cwd: Parts, home: Parts) -> Parts:
    """The place that a path means.

    Raises:
        ShellError: The path is empty, too deep, too long or on a drive that does not exist.
    """
    given = text
    if system == WINDOWS:
        text = text.replace("\\", "/")
        if text[1:2] == ":":
            if text[0] not in "cC":
                raise ShellError(f"{given[:40]}: there is no such drive")
            text = "/" + text[2:]
    if not text:
        raise ShellError("the path is empty")
    if text == "~" or text.startswith("~/"):
        parts, text = list(home), text[1:]
    else:
        parts = [] if text.startswith("/") else list(cwd)
    for part in text.split("/"):
        if part == "..":
            del parts[-1:]
        elif part and part != ".":
            parts.append(part)
    if len(parts) > MAX_DEPTH or any(len(part) > MAX_NAME for part in parts):
        raise ShellError(f"{given[:40]}…: File name too long")
    return tuple(parts)


def write_path(path: Parts, system: str) -> str:
    return "C:\\" + "\\".join(path) if system == WINDOWS else "/" + "/".join(path)


def is_folder_path(text: str) -> bool:
    """Whether a path can only mean a folder, by its last character."""
    return text.endswith(("/", "\\"))
