"""Commands that change the tree of one machine: mkdir touch cp mv rm chmod, and copy move del ren on Windows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from codctl.envs.terminal.commands.options import need_operands, read_options, windows_operands
from codctl.envs.terminal.filesystem import (
    File,
    Folder,
    Node,
    Parts,
    ShellError,
    folder,
    is_folder_path,
    merge,
    owned,
    with_mode,
)
from codctl.envs.terminal.machine import Machine

if TYPE_CHECKING:
    from codctl.envs.terminal.shell import Shell


def mkdir(shell: Shell, words: list[str]) -> str:
    options = read_options(words, "pv")
    need_operands(options.operands, 1, None, "mkdir [-p] FOLDER...")
    for word in options.operands:
        make_folder(shell.here, shell.here.path(word), parents="p" in options.flags)
    return ""


def touch(shell: Shell, words: list[str]) -> str:
    operands = read_options(words, "c").operands
    need_operands(operands, 1, None, "touch FILE...")
    for word in operands:
        path = shell.here.path(word)
        if shell.here.find(path) is None:
            shell.here.write(path, File())
    return ""


def cp(shell: Shell, words: list[str]) -> str:
    options = read_options(words, "rRapvf")
    need_operands(options.operands, 2, None, "cp [-r] SOURCE... TARGET")
    return copy_to(shell, options.operands, recursive=options.recursive)


def mv(shell: Shell, words: list[str]) -> str:
    operands = read_options(words, "fv").operands
    need_operands(operands, 2, None, "mv SOURCE... TARGET")
    return move_to(shell, operands)


def rm(shell: Shell, words: list[str]) -> str:
    options = read_options(words, "rRfv")
    need_operands(options.operands, 1, None, "rm [-r] PATH...")
    for word in options.operands:
        path = shell.here.path(word)
        node = shell.here.find(path)
        if node is None and "f" in options.flags:
            continue
        erase(shell.here, path, recursive=options.recursive)
    return ""


def copy_windows(shell: Shell, words: list[str]) -> str:
    operands = windows_operands(words)
    need_operands(operands, 2, 2, "copy SOURCE TARGET")
    return copy_to(shell, operands, recursive=False)


def move_windows(shell: Shell, words: list[str]) -> str:
    operands = windows_operands(words)
    need_operands(operands, 2, 2, "move SOURCE TARGET")
    return move_to(shell, operands)


def del_(shell: Shell, words: list[str]) -> str:
    operands = windows_operands(words)
    need_operands(operands, 1, None, "del FILE...")
    for word in operands:
        erase(shell.here, shell.here.path(word), recursive=False)
    return ""


def ren(shell: Shell, words: list[str]) -> str:
    operands = windows_operands(words)
    need_operands(operands, 2, 2, "ren PATH NEWNAME")
    source, name = shell.here.path(operands[0]), operands[1]
    if "/" in name or "\\" in name or not name:
        raise ShellError("the new name must be a name, not a path")
    target = (*source[:-1], name)
    if shell.here.find(target) is not None:
        raise ShellError(f"{shell.here.show(target)}: a file with this name exists")
    return move_to(shell, [operands[0], shell.here.show(target)])


def make_folder(machine: Machine, path: Parts, *, parents: bool) -> None:
    if machine.find(path) is not None:
        if parents and isinstance(machine.find(path), Folder):
            return
        raise ShellError(f"cannot create directory '{machine.show(path)}': File exists")
    if parents and machine.find(path[:-1]) is None:
        make_folder(machine, path[:-1], parents=True)
    machine.write(path, folder())


def copy_to(shell: Shell, operands: list[str], *, recursive: bool = False) -> str:
    for source, target in _pairs(shell.here, operands):
        node = shell.here.node(source)
        if isinstance(node, Folder) and not recursive:
            raise ShellError(f"{shell.here.show(source)}: Is a directory, which needs -r")
        if target[: len(source)] == source:
            raise ShellError(f"{shell.here.show(target)}: is the source or inside it")
        lay(shell.here, target, node)
    return ""


def move_to(shell: Shell, operands: list[str]) -> str:
    for source, target in _pairs(shell.here, operands):
        node = shell.here.node(source)
        if target[: len(source)] == source:
            raise ShellError(f"{shell.here.show(target)}: is the source or inside it")
        shell.here.remove(source)
        present = shell.here.find(target)
        if present is not None and isinstance(present, Folder | type(None)) != isinstance(node, Folder):
            raise ShellError(f"{shell.here.show(target)}: a file cannot replace a folder, nor a folder a file")
        if isinstance(present, Folder):
            raise ShellError(f"{shell.here.show(target)}: Directory not empty")
        shell.here.write(target, node)
    return ""


def erase(machine: Machine, path: Parts, *, recursive: bool) -> None:
    node = machine.node(path)
    if isinstance(node, Folder) and not recursive:
        raise ShellError(f"{machine.show(path)}: Is a directory")
    machine.remove(path)


def lay(machine: Machine, target: Parts, node: Node) -> None:
    """Write a copy that belongs to the user over what is there; folders merge."""
    merged = merge(machine.find(target), owned(node))
    if merged is None:
        raise ShellError(f"{machine.show(target)}: a file cannot replace a folder, nor a folder a file")
    machine.write(target, merged)


def landing(machine: Machine, text: str, name: str) -> Parts:
    """Where something called `name` comes to lie when sent to `text`: in it, if it is a folder, else as it."""
    path = machine.path(text)
    if isinstance(machine.find(path), Folder):
        return (*path, name)
    if is_folder_path(text):
        raise ShellError(f"{machine.show(path)}: No such directory")
    return path


def _pairs(machine: Machine, operands: list[str]) -> list[tuple[Parts, Parts]]:
    """Source and target paths of all operands but the last, which says where to."""
    *sources, target = operands
    if len(sources) > 1 and not isinstance(machine.find(machine.path(target)), Folder):
        raise ShellError(f"{target[:40]}: No such directory")
    paths = [machine.path(source) for source in sources]
    if () in paths:
        raise ShellError(f"{machine.show(())}: refused, it is the root")
    return [(path, landing(machine, target, path[-1])) for path in paths]


_OCTAL = re.compile(r"[0-7]{3,4}", re.ASCII)
_CLAUSE = re.compile(r"([ugoa]*)([+=-])([rwx]*)", re.ASCII)
_SHIFT = {"u": 6, "g": 3, "o": 0}


def chmod(shell: Shell, words: list[str]) -> str:
    """Only -R is a flag: `-x` is a mode."""
    deep = "-R" in words
    operands = [word for word in words if word != "-R"]
    need_operands(operands, 2, None, "chmod [-R] MODE PATH...")
    for word in operands[1:]:
        path = shell.here.path(word)
        node = shell.here.find(path)
        if node is None:
            raise ShellError(f"{shell.here.show(path)}: No such file or directory")
        mode = new_mode(operands[0], node)
        _check_house(shell, mode)
        shell.here.change_mode(path, _apply(node, operands[0], deep))
    return ""


def new_mode(text: str, node: Node) -> int:
    """The mode that `755` or `u+x,go-w` gives to a node.

    Raises:
        ShellError: The text is no mode.
    """
    if _OCTAL.fullmatch(text):
        return int(text, 8) & 0o777
    mode = node.mode
    for clause in text.split(","):
        match = _CLAUSE.fullmatch(clause)
        if not match:
            raise ShellError(f"invalid mode: '{text[:40]}'")
        who, sign, what = match.groups()
        bits = sum({"r": 4, "w": 2, "x": 1}[letter] for letter in set(what))
        for letter in _SHIFT if not who or "a" in who else set(who):
            shift = _SHIFT[letter]
            if sign == "=":
                mode &= ~(7 << shift)
            mode = mode & ~(bits << shift) if sign == "-" else mode | bits << shift
    return mode


def _apply(node: Node, text: str, deep: bool) -> Node:
    changed = with_mode(node, new_mode(text, node))
    if isinstance(changed, File) or not deep:
        return changed
    below = {name: _apply(child, text, deep) for name, child in changed.entries.items()}
    assert isinstance(changed, Folder)
    return folder(below, changed.mode, changed.system)


def _check_house(shell: Shell, mode: int) -> None:
    if not shell.rules:
        return
    lessons = shell.rules.about("mode", f"{mode:03o}")
    if f"{mode:03o}" != shell.rules.truth["mode"]:
        listed = " ".join(shell.rules.surface.modes)
        raise ShellError(
            f"mode {mode:03o} is not the one that is allowed here, which is one of {listed}",
            *lessons,
            *shell.rules.listing("mode"),
        )
    shell.learn(*lessons)
