"""Which system has which commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from codctl.envs.terminal.commands import changing, looking, network, packing
from codctl.envs.terminal.filesystem import WINDOWS

if TYPE_CHECKING:
    from codctl.envs.terminal.shell import Shell

Run = Callable[["Shell", list[str]], str]

_EVERYWHERE: dict[str, Run] = {
    "ls": looking.ls,
    "cd": looking.cd,
    "pwd": looking.pwd,
    "cat": looking.cat,
    "echo": looking.echo,
    "whoami": looking.whoami,
    "mkdir": changing.mkdir,
    "cp": changing.cp,
    "mv": changing.mv,
    "rm": changing.rm,
    "ssh": network.ssh,
    "exit": network.exit_,
    "scp": network.scp,
    "zip": packing.zip_,
    "unzip": packing.unzip,
}
_UNIX: dict[str, Run] = {
    "chmod": changing.chmod,
    "touch": changing.touch,
    "rsync": network.rsync,
    "tar": packing.tar,
    "gzip": packing.gzip,
    "gunzip": packing.gunzip,
}
_WINDOWS: dict[str, Run] = {
    "dir": looking.dir_,
    "type": looking.type_,
    "copy": changing.copy_windows,
    "move": changing.move_windows,
    "del": changing.del_,
    "ren": changing.ren,
}
_UNIX_ALL, _WINDOWS_ALL = {**_EVERYWHERE, **_UNIX}, {**_EVERYWHERE, **_WINDOWS}


def commands_of(system: str) -> Mapping[str, Run]:
    return _WINDOWS_ALL if system == WINDOWS else _UNIX_ALL
