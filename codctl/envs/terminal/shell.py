"""Runs commands on two machines. A command that fails changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from codctl.envs.terminal.commands.house import run_tool
from codctl.envs.terminal.commands.table import commands_of
from codctl.envs.terminal.filesystem import WINDOWS, Parts, Refused, ShellError
from codctl.envs.terminal.machine import Machine
from codctl.envs.terminal.parsing import expand, parse_line
from codctl.envs.terminal.rules import SERVICE, TOOLS, VERB_OF, HouseRules, Lesson
from codctl.envs.terminal.sites import Side, Site

MAX_OUTPUT = 1500  # characters


@dataclass(frozen=True)
class Ran:
    """What became of one command, or of a line that was refused whole."""

    command: str
    side: Side
    output: str
    failed: bool
    lessons: tuple[Lesson, ...] = ()


class Shell:
    """A session on the local machine, from which `ssh` leads to the remote one.

    Attributes:
        rules: The house rules, if there are any.
        machines: By side.
        side: Where the session is.
    """

    def __init__(self, site: Site, rules: HouseRules | None) -> None:
        self.site = site
        self.rules = rules
        self.machines: dict[Side, Machine] = {
            "local": Machine(site.local.identity, site.local.root, self._guard),
            "remote": Machine(site.remote.identity, site.remote.root, self._guard),
        }
        self.side: Side = "local"
        self._lessons: list[Lesson] = []

    @property
    def here(self) -> Machine:
        return self.machines[self.side]

    def run_line(self, line: str, allowance: int, is_over: Callable[[], bool]) -> list[Ran]:
        """Run the commands of a line until one that must succeed fails, the allowance is spent or all is over."""
        if not self.rules:
            line = expand(line, self.here)
        try:
            commands = parse_line(line, escapes=self.here.identity.system != WINDOWS)
        except Refused as problem:
            shown = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line[:MAX_OUTPUT])
            return [Ran(shown, self.side, f"refused, nothing was run: {problem}", True)]
        done: list[Ran] = []
        for command in commands:
            if command.needs_success and done[-1].failed:
                continue
            if len(done) == allowance:
                break
            done.append(self.run(command.words))
            if is_over():
                break
        return done

    def run(self, words: list[str]) -> Ran:
        """Run one command."""
        before = [(machine, machine.root, machine.cwd) for machine in self.machines.values()]
        side = self.side
        self._lessons = []
        try:
            output, failed = self._call(words), False
        except ShellError as error:
            output, failed = f"{words[0][:40]}: {error.message}", True
            self._lessons += error.lessons
            self.side = side
            for machine, root, cwd in before:
                machine.root, machine.cwd = root, cwd
        return Ran(" ".join(words)[:MAX_OUTPUT], side, output[:MAX_OUTPUT], failed, tuple(self._lessons))

    def learn(self, *lessons: Lesson) -> None:
        """Note what the running command reveals."""
        self._lessons += lessons

    def reveal(self, path: Parts) -> None:
        """Note what the listing of a folder reveals."""
        if self.rules and path == TOOLS:
            self.learn(Lesson("tools", "", True))
        if self.rules and path == (SERVICE,):
            self.learn(Lesson("drops", "", True))

    def _call(self, words: list[str]) -> str:
        name, system = words[0], self.here.identity.system
        if system == WINDOWS:
            name = name.lower()
        if self.rules:
            tool = self._tool(name)
            if tool:
                return run_tool(self, self.rules, tool, words[1:])
        command = commands_of(system).get(name)
        if command is None and system == WINDOWS:
            raise ShellError("not recognized as an internal or external command")
        if command is None:
            raise ShellError("command not found")
        if self.rules and name in VERB_OF:
            where = self.here.show(TOOLS)
            raise ShellError(f"not installed here; the house tool for {VERB_OF[name]} is one of those in {where}")
        return command(self, words[1:])

    def _tool(self, name: str) -> str | None:
        """The house tool that a first word means, by its name or its path."""
        assert self.rules
        if "/" in name or "\\" in name:
            path = self.here.path(name)
            name = path[-1] if path[:-1] == TOOLS else ""
        return name if name in self.rules.verb_of_tool else None

    def _guard(self, machine: Machine, path: Parts) -> None:
        if not self.rules or path[:1] != (SERVICE,):
            return
        name = path[1] if len(path) > 2 else ""
        if name == self.rules.truth["drop"]:
            self.learn(Lesson("drop", name, True))
            return
        raise ShellError(
            f"{machine.show(path)}: Read-only file system; of the folders in {machine.show((SERVICE,))} only the drop "
            "folder can be written to, and this is not it",
            *self.rules.about("drop", name),
        )
