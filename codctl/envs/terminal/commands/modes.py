"""chmod."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from codctl.envs.terminal.commands.options import need_operands
from codctl.envs.terminal.errors import ShellError
from codctl.envs.terminal.filesystem import File, Folder, Node, folder, with_mode

if TYPE_CHECKING:
    from codctl.envs.terminal.shell import Shell

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
