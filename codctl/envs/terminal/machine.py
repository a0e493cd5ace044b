"""A simulated machine: whose it is, its tree, where one stands, and what one may do there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from codctl.envs.terminal.filesystem import (
    MAX_DEPTH,
    File,
    Folder,
    Node,
    Parts,
    ShellError,
    find,
    put,
    read_path,
    without,
    write_path,
)

MAX_NODES = 5000
Guard = Callable[["Machine", Parts], None]  # raises ShellError where nothing may be written


@dataclass(frozen=True)
class Identity:
    """What does not change about a machine. `system` is linux, macos or windows."""

    system: str
    host: str
    user: str
    home: Parts

    def write(self, path: Parts) -> str:
        return write_path(path, self.system)


class Machine:
    """A live machine. All changes go through `write` and `remove`, which keep it within its limits."""

    def __init__(self, identity: Identity, root: Folder, guard: Guard) -> None:
        self.identity = identity
        self.root = root
        self.cwd = identity.home
        self._guard = guard

    def path(self, text: str) -> Parts:
        return read_path(text, self.identity.system, self.cwd, self.identity.home)

    def show(self, path: Parts) -> str:
        return self.identity.write(path)

    def find(self, path: Parts) -> Node | None:
        return find(self.root, path)

    def node(self, path: Parts) -> Node:
        """What is at a path and may be read.

        Raises:
            ShellError: There is nothing, or it may not be read.
        """
        node = find(self.root, path)
        if node is None:
            raise ShellError(f"{self.show(path)}: No such file or directory")
        if not node.mode & (0o004 if node.system else 0o400):
            raise ShellError(f"{self.show(path)}: Permission denied")
        return node

    def file(self, path: Parts) -> File:
        node = self.node(path)
        if isinstance(node, Folder):
            raise ShellError(f"{self.show(path)}: Is a directory")
        return node

    def folder(self, path: Parts) -> Folder:
        node = self.node(path)
        if isinstance(node, File):
            raise ShellError(f"{self.show(path)}: Not a directory")
        return node

    def write(self, path: Parts, node: Node) -> None:
        """Put a node in place of whatever is there."""
        self._check_writable(path)
        root = put(self.root, path, node)
        if root.nodes > MAX_NODES or root.height > MAX_DEPTH:
            raise ShellError(f"{self.show(path)}: No space left on device")
        self.root = root

    def remove(self, path: Parts) -> None:
        self._check_writable(path)
        if self.cwd[: len(path)] == path:
            raise ShellError(f"{self.show(path)}: refused, you are in it")
        self.root = without(self.root, path)

    def change_mode(self, path: Parts, node: Node) -> None:
        """Put back a node that differs in its mode only: that is for its owner, whatever the folder around it."""
        if node.system or not path:
            raise ShellError(f"{self.show(path)}: Operation not permitted")
        self._guard(self, path)
        self.root = put(self.root, path, node)

    def _check_writable(self, path: Parts) -> None:
        if not path:
            raise ShellError(f"{self.show(path)}: refused, it is the root")
        parent = find(self.root, path[:-1])
        if parent is None:
            raise ShellError(f"{self.show(path[:-1])}: No such file or directory")
        if not isinstance(parent, Folder):
            raise ShellError(f"{self.show(path[:-1])}: Not a directory")
        self._guard(self, path)
        if not parent.mode & (0o002 if parent.system else 0o200):
            raise ShellError(f"{self.show(path)}: Permission denied")
