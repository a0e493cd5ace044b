"""Between the machines: ssh exit scp rsync. Only the site's own two machines know each other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codctl.envs.terminal.commands.changing import landing, lay, make_folder
from codctl.envs.terminal.commands.options import need_operands, read_options
from codctl.envs.terminal.filesystem import WINDOWS, Folder, ShellError
from codctl.envs.terminal.machine import Machine

if TYPE_CHECKING:
    from codctl.envs.terminal.shell import Shell

_REMOTE = re.compile(r"(?:([^\s@:/\\]+)@)?([^\s@:/\\]+):(.*)")


@dataclass(frozen=True)
class End:
    """One end of a transfer."""

    machine: Machine
    text: str
    is_remote: bool

    @property
    def name(self) -> str:
        path = self.machine.path(self.text)
        if not path:
            raise ShellError("refused, it is the root")
        return path[-1]


def ssh(shell: Shell, words: list[str]) -> str:
    options = read_options(words, "", "p")
    need_operands(options.operands, 1, 1, "ssh [-p PORT] [USER@]HOST (no command: it opens a session)")
    user, _, host = options.operands[0].rpartition("@")
    check_host(shell, user, host)
    check_port(shell, options.values.get("p"))
    shell.side = "remote"
    identity = shell.here.identity
    return f"You are now {identity.user} on {identity.host}."


def exit_(shell: Shell, words: list[str]) -> str:
    if shell.side == "local":
        raise ShellError("this is the local machine; there is no session to leave")
    shell.side = "local"
    return f"Connection to {shell.machines['remote'].identity.host} closed."


def scp(shell: Shell, words: list[str]) -> str:
    options = read_options(words, "rpqCv", "P")
    need_operands(options.operands, 2, None, "scp [-r] [-P PORT] SOURCE... TARGET, one side as HOST:PATH")
    ends = [read_end(shell, word) for word in options.operands]
    check_ends(ends)
    check_port(shell, options.values.get("P"))
    for source in ends[:-1]:
        transfer(source, ends[-1], recursive="r" in options.flags)
    return ""


def rsync(shell: Shell, words: list[str]) -> str:
    options = read_options(words, "avzrhP", "e")
    need_operands(options.operands, 2, None, "rsync [-r] SOURCE... TARGET")
    ends = [read_end(shell, word) for word in options.operands]
    if all(end.is_remote for end in ends):
        raise ShellError("one side must be a local path")
    for source in ends[:-1]:
        if source.text.endswith("/"):
            _lay_contents(source, ends[-1], options.recursive)
        else:
            transfer(source, ends[-1], recursive=options.recursive)
    return ""


def read_end(shell: Shell, word: str) -> End:
    """Read `[USER@]HOST:PATH` or a local path; `C:\\x` is a local path on Windows."""
    is_drive = shell.here.identity.system == WINDOWS and word[1:2] == ":" and word[:1].isalpha()
    match = _REMOTE.fullmatch(word)
    if is_drive or not match:
        return End(shell.here, word, False)
    check_host(shell, match[1] or "", match[2])
    return End(shell.machines["remote"], match[3] or "~", True)


def check_ends(ends: list[End]) -> None:
    if len({end.is_remote for end in ends[:-1]}) != 1 or ends[0].is_remote == ends[-1].is_remote:
        raise ShellError("exactly one side must be remote: HOST:PATH")


def check_host(shell: Shell, user: str, host: str) -> None:
    remote = shell.machines["remote"].identity
    if shell.side == "remote" or host != remote.host:
        raise ShellError(f"Could not resolve hostname {host[:40]}: no such host is reachable from here")
    if user and user != remote.user:
        raise ShellError(f"{user[:40]}@{host}: Permission denied; your user there is {remote.user}")


def check_port(shell: Shell, port: str | None) -> None:
    """Without house rules the port is 22."""
    if not shell.rules:
        if port not in (None, "22"):
            raise ShellError(f"port {port[:10]}: Connection refused")
        return
    truth, lessons = shell.rules.truth["port"], shell.rules.about("port", port or "22")
    if port != truth:
        raise ShellError(
            f"port {(port or '22')[:10]}: Connection refused; the port for logins is one of "
            + " ".join(shell.rules.surface.ports),
            *lessons,
            *shell.rules.listing("port"),
        )
    shell.learn(*lessons)


def transfer(source: End, target: End, *, recursive: bool) -> None:
    node = source.machine.node(source.machine.path(source.text))
    if isinstance(node, Folder) and not recursive:
        raise ShellError(f"{source.text}: Is a directory, which needs -r")
    if source.machine is target.machine and isinstance(node, Folder):
        raise ShellError("folders are sent between machines only; use cp")
    lay(target.machine, landing(target.machine, target.text, source.name), node)


def _lay_contents(source: End, target: End, recursive: bool) -> None:
    """`SOURCE/`: what is in the folder, not the folder."""
    path = target.machine.path(target.text)
    node = source.machine.folder(source.machine.path(source.text))
    if not recursive or source.machine is target.machine:
        raise ShellError(f"{source.text}: folders need -r, and go between machines only")
    if target.machine.find(path) is None:
        make_folder(target.machine, path, parents=False)
    lay(target.machine, path, node)
