"""Reads a command line into commands, or refuses all of it before anything runs.

Known: words, quotes, escapes (not on Windows, where the backslash separates folders), `~` at the start of a word, `&&`
and `;`. Refused: pipes, redirects, background, substitutions, variables, wildcards, groups, several lines.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from codctl.envs.terminal.filesystem import WINDOWS, Refused

if TYPE_CHECKING:
    from codctl.envs.terminal.machine import Machine


_UNIX = re.compile(r"\$(?:\{(\w+)\}|(\w+))", re.ASCII)
_WINDOWS = re.compile(r"%(\w+)%()", re.ASCII)


def expand(line: str, here: Machine) -> str:
    """The line with the values of variables that exist; others stay, and are refused with the line."""
    values = _values(here)
    pattern = _WINDOWS if here.identity.system == WINDOWS else _UNIX

    def value(found: re.Match[str]) -> str:
        return values.get(found[1] or found[2], found[0])

    return pattern.sub(value, line)


def _values(here: Machine) -> dict[str, str]:
    identity = here.identity
    home, folder = here.show(identity.home), here.show(here.cwd)
    if identity.system == WINDOWS:
        return {"USERPROFILE": home, "USERNAME": identity.user, "CD": folder}
    return {"HOME": home, "USER": identity.user, "PWD": folder}


MAX_LINE = 4000
_REFUSED = {
    "|": "pipes are not available",
    "<": "redirects are not available",
    ">": "redirects are not available",
    "`": "substitutions are not available",
    "$": "variables and substitutions are not available",
    "*": "wildcards are not available, name the files",
    "?": "wildcards are not available, name the files",
    "[": "wildcards are not available, name the files",
    "(": "groups are not available",
    ")": "groups are not available",
}


@dataclass
class Command:
    """Words, and whether it runs only when the one before it succeeded."""

    words: list[str] = field(default_factory=list)
    needs_success: bool = False


def parse_line(line: str, *, escapes: bool) -> list[Command]:
    """Split a line into commands.

    Args:
        line: Any text.
        escapes: Whether the backslash takes the meaning from the next character.

    Raises:
        Refused: The line cannot be read or uses what is not available.
    """
    if len(line) > MAX_LINE:
        raise Refused(f"the line is longer than {MAX_LINE} characters")
    if any(not char.isprintable() and char != "\t" for char in line):
        raise Refused("one line at a time, without control characters")
    return _Reader(line, escapes).read()


class _Reader:
    def __init__(self, line: str, escapes: bool) -> None:
        self._line, self._escapes = line, escapes
        self._at = 0
        self._word: list[str] | None = None  # None between words; "" may be a word
        self._commands = [Command()]

    def read(self) -> list[Command]:
        while self._at < len(self._line):
            char = self._line[self._at]
            self._at += 1
            if char in " \t":
                self._end_word()
            elif char in "'\"":
                self._quoted(char)
            elif char == "\\" and self._escapes:
                self._add(self._next("a backslash ends the line"))
            elif char == ";":
                self._end_command(needs_success=False)
            elif char == "&":
                if self._line[self._at : self._at + 1] != "&":
                    raise Refused("background commands are not available")
                self._at += 1
                self._end_command(needs_success=True)
            elif char in _REFUSED:
                raise Refused(_REFUSED[char])
            else:
                self._add(char)
        self._end_word()
        if not self._commands[-1].words:
            if self._commands[-1].needs_success or len(self._commands) == 1:
                raise Refused("a command is missing at the end of the line")
            self._commands.pop()
        return self._commands

    def _quoted(self, quote: str) -> None:
        if self._word is None and self._line[self._at : self._at + 1] == "~":
            self._add("./")  # a quoted ~ is a name, not the home folder
        self._word = self._word or []
        while (char := self._next("a quote is not closed")) != quote:
            if quote == '"' and char in "`$":
                raise Refused(_REFUSED[char])
            if quote == '"' and char == "\\" and self._escapes and self._line[self._at : self._at + 1] in ('"', "\\"):
                char = self._next("a quote is not closed")
            self._word.append(char)

    def _next(self, problem: str) -> str:
        if self._at >= len(self._line):
            raise Refused(problem)
        self._at += 1
        return self._line[self._at - 1]

    def _add(self, char: str) -> None:
        self._word = self._word or []
        self._word.append(char)

    def _end_word(self) -> None:
        if self._word is not None:
            self._commands[-1].words.append("".join(self._word))
            self._word = None

    def _end_command(self, needs_success: bool) -> None:
        self._end_word()
        if not self._commands[-1].words:
            raise Refused("a command is missing before && or ;")
        self._commands.append(Command(needs_success=needs_success))
