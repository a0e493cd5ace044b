"""Archives: tar zip unzip gzip gunzip. What is packed is kept as a tree, not as bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codctl.envs.terminal.commands.changing import lay
from codctl.envs.terminal.commands.options import Options, need_operands, read_options
from codctl.envs.terminal.filesystem import File, Folder, Node, Parts, ShellError, folder, merge, read_path
from codctl.envs.terminal.machine import Machine

if TYPE_CHECKING:
    from codctl.envs.terminal.shell import Shell

_TAR_USAGE = "tar -czf ARCHIVE PATH... | tar -xzf ARCHIVE [-C FOLDER] | tar -tf ARCHIVE"


def tar(shell: Shell, words: list[str]) -> str:
    if words and not words[0].startswith("-"):  # the old form: tar czf
        words = ["-" + words[0], *words[1:]]
    options = read_options(words, "cxtzvp", "fC", {})
    mode = options.flags & {"c", "x", "t"}
    if len(mode) != 1 or "f" not in options.values:
        raise ShellError(f"usage: {_TAR_USAGE}")
    machine, archive = shell.here, shell.here.path(options.values["f"])
    base = machine.path(options.values["C"]) if "C" in options.values else machine.cwd
    machine.folder(base)
    if "c" in mode:
        need_operands(options.operands, 1, None, _TAR_USAGE)
        pack(machine, archive, options.operands, "tgz" if "z" in options.flags else "tar", base)
        return ""
    packed = unpacked(machine, archive, ("tar", "tgz"))
    if "t" in mode:
        return "\n".join(names(packed))
    extract(machine, packed, base)
    return ""


def zip_(shell: Shell, words: list[str]) -> str:
    options = read_options(words, "rqv", "", {"recurse-paths": "r"})
    need_operands(options.operands, 2, None, "zip [-r] ARCHIVE PATH...")
    archive, *sources = options.operands
    if "r" not in options.flags and any(isinstance(shell.here.find(shell.here.path(s)), Folder) for s in sources):
        raise ShellError("a folder needs -r")
    path = shell.here.path(archive if "." in archive.replace("\\", "/").rsplit("/", 1)[-1] else archive + ".zip")
    pack(shell.here, path, sources, "zip", shell.here.cwd)
    return ""


def unzip(shell: Shell, words: list[str]) -> str:
    options = read_options(words, "loq", "d")
    need_operands(options.operands, 1, 1, "unzip ARCHIVE [-d FOLDER]")
    packed = unpacked(shell.here, shell.here.path(options.operands[0]), ("zip",))
    if "l" in options.flags:
        return "\n".join(names(packed))
    extract(shell.here, packed, shell.here.path(options.values.get("d", ".")))
    return ""


def gzip(shell: Shell, words: list[str]) -> str:
    options = read_options(words, "dkfv", "", {"keep": "k", "decompress": "d"})
    need_operands(options.operands, 1, 1, "gzip [-k] [-d] FILE")
    return _gunzip(shell, options) if "d" in options.flags else _gzip(shell, options)


def gunzip(shell: Shell, words: list[str]) -> str:
    options = read_options(words, "kfv", "", {"keep": "k"})
    need_operands(options.operands, 1, 1, "gunzip [-k] FILE.gz")
    return _gunzip(shell, options)


def pack(machine: Machine, archive: Parts, sources: list[str], form: str, base: Parts) -> None:
    """Write an archive of some paths, under the names by which they were given (`..` and a leading / are dropped)."""
    packed: Node = folder()
    for source in sources:
        path = read_path(source, machine.identity.system, base, machine.identity.home)
        inside = path[len(base) :] if path[: len(base)] == base else path
        node = machine.node(path)
        for name in reversed(inside):
            node = folder({name: node})
        merged = merge(packed, node)
        if not isinstance(merged, Folder):
            raise ShellError(f"{source[:40]}: cannot be packed together with the others")
        packed = merged
    if isinstance(machine.find(archive), Folder):
        raise ShellError(f"{machine.show(archive)}: Is a directory")
    assert isinstance(packed, Folder)
    machine.write(archive, File(archive=form, packed=packed))


def unpacked(machine: Machine, path: Parts, forms: tuple[str, ...]) -> Folder:
    """What an archive of one of these formats holds."""
    file = machine.file(path)
    if file.packed is None or file.archive not in forms:
        raise ShellError(f"{machine.show(path)}: not a {forms[0]} archive")
    return file.packed


def extract(machine: Machine, packed: Folder, target: Parts) -> None:
    """Lay what an archive holds into a folder, which is made when it is missing."""
    for name, node in packed.entries.items():
        if machine.find(target) is None:
            machine.write(target, folder())
        lay(machine, (*target, name), node)


def names(node: Folder, above: str = "") -> list[str]:
    """The paths of all files."""
    found = []
    for name, below in sorted(node.entries.items()):
        found += names(below, f"{above}{name}/") if isinstance(below, Folder) else [above + name]
    return found


def _gzip(shell: Shell, options: Options) -> str:
    path = shell.here.path(options.operands[0])
    file = shell.here.file(path)
    target = (*path[:-1], path[-1] + ".gz")
    if shell.here.find(target) is not None:
        raise ShellError(f"{shell.here.show(target)}: already exists")
    packed = File(archive="tgz", packed=file.packed) if file.archive == "tar" else None
    shell.here.write(target, packed or File(archive="gz", packed=folder({path[-1]: file})))
    if "k" not in options.flags:
        shell.here.remove(path)
    return ""


def _gunzip(shell: Shell, options: Options) -> str:
    path = shell.here.path(options.operands[0])
    file, name = shell.here.file(path), path[-1].removesuffix(".gz").removesuffix(".tgz")
    if file.packed is None or file.archive not in ("gz", "tgz") or name == path[-1]:
        raise ShellError(f"{shell.here.show(path)}: not in gzip format")
    target = (*path[:-1], name or "out")
    if shell.here.find(target) is not None:
        raise ShellError(f"{shell.here.show(target)}: already exists")
    inner: Node = (
        next(iter(file.packed.entries.values())) if file.archive == "gz" else File(archive="tar", packed=file.packed)
    )
    shell.here.write(target, inner)
    if "k" not in options.flags:
        shell.here.remove(path)
    return ""
