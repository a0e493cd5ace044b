"""House tools: `TOOL VERB ARGUMENTS`. Called for another verb than its own, a tool only says what it is for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codctl.envs.terminal.commands import changing, network, packing
from codctl.envs.terminal.commands.options import need_operands, read_options
from codctl.envs.terminal.filesystem import Folder, Parts, ShellError
from codctl.envs.terminal.machine import Machine
from codctl.envs.terminal.rules import VERBS, HouseRules

if TYPE_CHECKING:
    from codctl.envs.terminal.shell import Shell

USAGES = {
    "send": "send -p PORT SOURCE TARGET, one of them HOST:PATH",
    "pack": "pack ARCHIVE PATH...",
    "unpack": "unpack ARCHIVE FOLDER",
    "erase": "erase PATH...",
    "move": "move SOURCE TARGET",
    "copy": "copy SOURCE TARGET",
    "make": "make FOLDER",
}


def run_tool(shell: Shell, rules: HouseRules, tool: str, words: list[str]) -> str:
    verb = rules.verb_of_tool[tool]
    shell.learn(*rules.about_tool(tool))
    if not verb:
        raise ShellError("this tool is retired, it does nothing any more")
    if not words or words[0] != verb:
        asked = f", not for {words[0]}" if words and words[0] in VERBS else ""
        raise ShellError(f"this tool is for {verb}{asked}; usage: {tool} {USAGES[verb]}")
    options = read_options(words[1:], "", "p" if verb == "send" else "")
    least = 1 if verb in ("erase", "make") else 2
    most = None if verb in ("erase", "pack") else least
    need_operands(options.operands, least, most, f"{tool} {USAGES[verb]}")
    if verb == "send":
        _send(shell, options.operands, options.values.get("p"))
    else:
        _here(shell, verb, options.operands)
    return ""


def _send(shell: Shell, operands: list[str], port: str | None) -> None:
    source, target = ends = [network.read_end(shell, word) for word in operands]
    network.check_ends(ends)
    network.check_port(shell, port)
    path = target.machine.path(target.text)
    if target.machine.find(path) is None:
        raise ShellError(f"{target.machine.show(path)}: send keeps names; the target is a folder or a file to replace")
    source.machine.file(source.machine.path(source.text))
    network.transfer(source, target, recursive=False)


def _here(shell: Shell, verb: str, operands: list[str]) -> None:
    machine = shell.here
    paths = [machine.path(word) for word in operands]
    if verb == "pack":
        packing.pack(machine, paths[0], operands[1:], "house", machine.cwd)
    elif verb == "unpack":
        machine.folder(paths[1])
        packing.extract(machine, packing.unpacked(machine, paths[0], ("house",)), paths[1])
    elif verb == "erase":
        for path in paths:
            changing.erase(machine, path, recursive=isinstance(machine.find(path), Folder))
    elif verb == "make":
        changing.make_folder(machine, paths[0], parents=False)
    else:
        _check_modest(machine, paths[0], changing.landing(machine, operands[1], paths[0][-1] if paths[0] else ""))
        (changing.copy_to if verb == "copy" else changing.move_to)(shell, operands)


def _check_modest(machine: Machine, source: Parts, target: Parts) -> None:
    """Files only and nothing replaced: otherwise one tool could do the work of another."""
    machine.file(source)
    if machine.find(target) is not None:
        raise ShellError(f"{machine.show(target)}: exists already")
