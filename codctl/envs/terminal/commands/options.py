"""Tells flags from operands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from codctl.envs.terminal.filesystem import ShellError

LONG = {"recursive": "r", "all": "a", "parents": "p", "force": "f", "verbose": "v", "keep": "k", "archive": "a"}


@dataclass
class Options:
    """Flags by letter, values of flags that take one, and operands in order."""

    flags: set[str] = field(default_factory=set)
    values: dict[str, str] = field(default_factory=dict)
    operands: list[str] = field(default_factory=list)

    @property
    def recursive(self) -> bool:
        return bool(self.flags & {"r", "R", "a"})


def read_options(words: list[str], flags: str, valued: str = "", long: Mapping[str, str] = LONG) -> Options:
    """Read `-rf`, `-p 22`, `-p22`, `--recursive` and `--`, anywhere among the operands.

    Raises:
        ShellError: A flag is unknown or lacks its value.
    """
    found, rest = Options(), list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            found.operands += rest
            break
        if word.startswith("--"):
            letter = long.get(word[2:])
            if letter is None or letter not in flags:
                raise ShellError(f"unrecognized option '{word[:40]}'")
            found.flags.add(letter)
        elif word.startswith("-") and len(word) > 1:
            _bundle(found, word[1:], rest, flags, valued)
        else:
            found.operands.append(word)
    return found


def _bundle(found: Options, letters: str, rest: list[str], flags: str, valued: str) -> None:
    for at, letter in enumerate(letters):
        if letter in valued:
            value = letters[at + 1 :] or (rest.pop(0) if rest else "")
            if not value:
                raise ShellError(f"option requires an argument -- '{letter}'")
            found.values[letter] = value
            return
        if letter not in flags:
            raise ShellError(f"invalid option -- '{letter}'")
        found.flags.add(letter)


def windows_operands(words: list[str]) -> list[str]:
    """Operands of a Windows command; switches such as /q are read over."""
    return [word for word in words if not (len(word) == 2 and word[0] == "/" and word[1].isalpha())]


def need_operands(operands: list[str], least: int, most: int | None, usage: str) -> None:
    """Raise a usage error unless the number of operands fits."""
    if len(operands) < least or (most is not None and len(operands) > most):
        raise ShellError(f"usage: {usage}")
