"""Commands that only look: ls dir cd pwd cat type echo whoami."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codctl.envs.terminal.commands.options import need_operands, read_options, windows_operands
from codctl.envs.terminal.filesystem import File, Folder, Node, Parts, ShellError

if TYPE_CHECKING:
    from codctl.envs.terminal.shell import Shell

MAX_LISTED = 200


def ls(shell: Shell, words: list[str]) -> str:
    options = read_options(words, "laR1hAFrt")
    return _list_all(shell, options.operands, long="l" in options.flags, hidden=bool(options.flags & {"a", "A"}),
                     deep="R" in options.flags)  # fmt: skip


def dir_(shell: Shell, words: list[str]) -> str:
    return _list_all(shell, windows_operands(words), long=False, hidden=False, deep=False)


def cd(shell: Shell, words: list[str]) -> str:
    operands = windows_operands(words)
    need_operands(operands, 0, 1, "cd [FOLDER]")
    path = shell.here.path(operands[0]) if operands else shell.here.identity.home
    shell.here.folder(path)
    shell.here.cwd = path
    return ""


def pwd(shell: Shell, words: list[str]) -> str:
    return shell.here.show(shell.here.cwd)


def cat(shell: Shell, words: list[str]) -> str:
    operands = read_options(words, "n").operands
    need_operands(operands, 1, None, "cat FILE...")
    return "\n".join(_text(shell, shell.here.path(word)) for word in operands)


def type_(shell: Shell, words: list[str]) -> str:
    return cat(shell, windows_operands(words))


def echo(shell: Shell, words: list[str]) -> str:
    return " ".join(words)


def whoami(shell: Shell, words: list[str]) -> str:
    return shell.here.identity.user


def _text(shell: Shell, path: Parts) -> str:
    file = shell.here.file(path)
    if file.archive:
        raise ShellError(f"{shell.here.show(path)}: binary file")
    return file.text


def _list_all(shell: Shell, operands: list[str], *, long: bool, hidden: bool, deep: bool) -> str:
    blocks = []
    for word in operands or ["."]:
        path = shell.here.path(word)
        node = shell.here.node(path)
        if isinstance(node, File):
            blocks.append(_line(path[-1], node, long, shell))
            continue
        blocks += _folder_blocks(shell, path, node, long, hidden, deep, titled=deep or len(operands) > 1)
    return "\n".join(blocks[:MAX_LISTED])


def _folder_blocks(
    shell: Shell, path: Parts, node: Folder, long: bool, hidden: bool, deep: bool, titled: bool
) -> list[str]:
    shell.reveal(path)
    shown = [(name, below) for name, below in sorted(node.entries.items()) if hidden or not name.startswith(".")]
    lines = [_line(name, below, long, shell) for name, below in shown]
    blocks = [f"{shell.here.show(path)}:", *lines] if titled else lines
    for name, below in shown if deep else ():
        if isinstance(below, Folder) and len(blocks) < MAX_LISTED:
            blocks += _folder_blocks(shell, (*path, name), below, long, hidden, deep, titled)
    return blocks


def _line(name: str, node: Node, long: bool, shell: Shell) -> str:
    name = f"{name}/" if isinstance(node, Folder) else name
    if not long:
        return name
    letters = "".join(c if node.mode >> (8 - i) & 1 else "-" for i, c in enumerate("rwxrwxrwx"))
    size = len(node.text) if isinstance(node, File) else 4096
    owner = "root" if node.system else shell.here.identity.user
    return f"{'d' if isinstance(node, Folder) else '-'}{letters} {owner} {size} {name}"
