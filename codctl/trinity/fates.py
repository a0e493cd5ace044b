"""What became of each key of a configuration: used, without counterpart, or about the cluster only."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from codctl.config.names import did_you_mean
from codctl.errors import Problem
from codctl.trinity.configuration import Configuration

Outcome = Literal["used", "no counterpart", "cluster only"]
_NUMBER = re.compile(r"\.\d+(?=\.|$)")
# A key in here that is not known may change what is learned, so that it is refused.
_CLOSED = re.compile(r"cod\.|.*\.workflow_args\.")


@dataclass(frozen=True)
class Fate:
    """What became of a key.

    Attributes:
        key: Dotted; items of lists are numbered.
        value: As the configuration has it.
        outcome: In a word.
        text: As what it is used, or why it is not.
    """

    key: str
    value: Any
    outcome: Outcome
    text: str


@dataclass(frozen=True)
class Rule:
    """What is done with a key, told by its value.

    Attributes:
        outcome: In a word.
        text: As what it is used, or why it is not.
        when: Whether the rule holds for a value; another rule of the key may hold for others.
    """

    outcome: Outcome
    text: str
    when: Callable[[Any], bool] = lambda value: True


class Ledger:
    """Hands out the values of a configuration, and knows at the end which of them nobody has asked for."""

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.problems: list[Problem] = []
        self._left = configuration.leaves()
        self._fates: dict[str, Fate] = {}

    def get(self, key: str, default: Any = None) -> Any:
        """A value, without saying what becomes of it."""
        value: Any = self.configuration.values
        for name in key.split("."):
            if isinstance(value, dict):
                value = value.get(name)
            elif isinstance(value, list) and name.isdigit() and int(name) < len(value):
                value = value[int(name)]
            else:
                return default
        return default if value is None else value

    def use(self, key: str, text: str, default: Any = None) -> Any:
        """A value that is used."""
        self.decide(key, "used", text)
        return self.get(key, default)

    def decide(self, key: str, outcome: Outcome, text: str) -> None:
        """Say what becomes of a key, and of all keys below it."""
        for name in [name for name in self._left if name == key or name.startswith(f"{key}.")]:
            self._fates[name] = Fate(name, self._left.pop(name), outcome, text)

    def refuse(self, key: str, message: str, hint: str = "") -> None:
        self.problems.append(Problem(f"{key}: {message}", self.configuration.where(key), hint))
        self.decide(key, "no counterpart", message)

    def number(self, key: str, text: str, default: float | None = None) -> float | None:
        """A number that is used; the environment gives texts."""
        value = self.use(key, text)
        if value is None:
            return default
        try:
            if isinstance(value, bool):
                raise ValueError
            return float(value)
        except (TypeError, ValueError):
            self.refuse(key, f"expected a number, got {value!r}")
            return default

    def whole(self, key: str, text: str, default: int | None = None) -> int | None:
        """A whole number that is used."""
        found = self.number(key, text)
        if found is None or found != found or abs(found) == float("inf"):
            return default
        if found != int(found):
            self.refuse(key, f"expected a whole number, got {found:g}")
            return default
        return int(found)

    def yes(self, key: str, text: str, *, default: bool = False) -> bool:
        """Whether a switch is on."""
        return is_on(self.use(key, text, default))

    def follow(self, rules: dict[str, list[Rule]]) -> None:
        """Let rules decide about keys that nobody has asked for. `[]` in a rule's key is any item, `*` any ending."""
        for key, value in list(self._left.items()):
            for rule in _rules_of(rules, _NUMBER.sub(".[]", key)):
                if rule.when(value):
                    self.decide(key, rule.outcome, rule.text)
                    break

    def close(self, rules: dict[str, list[Rule]], known: set[str]) -> list[Fate]:
        """The fate of every key, in the order of the file.

        Args:
            rules: For keys that nobody has asked for.
            known: Keys that somebody may ask for, to name the nearest.
        """
        self.follow(rules)
        for key in list(self._left):
            if _CLOSED.match(key):
                name = key.rpartition(".")[2]
                section = _NUMBER.sub(".[]", key).rpartition(".")[0]
                there = [other.rpartition(".")[2] for other in {*rules, *known} if other.rpartition(".")[0] == section]
                self.refuse(key, f"this key is not known{did_you_mean(name, there)}", "remove it, or say what it does")
            else:
                self.decide(key, "no counterpart", "codctl does not know this key")
        order = list(self.configuration.leaves())
        return sorted(self._fates.values(), key=lambda fate: order.index(fate.key))


def is_on(value: Any) -> bool:
    """A switch, also as the environment writes it."""
    return value is True or str(value).lower() in ("true", "1", "yes", "on")


def _rules_of(rules: dict[str, list[Rule]], key: str) -> Iterator[Rule]:
    yield from rules.get(key, ())
    parts = key.split(".")
    for size in range(len(parts) - 1, 0, -1):
        yield from rules.get(".".join([*parts[:size], "*"]), ())
