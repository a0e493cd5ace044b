"""What a YAML file may hold: looked at token by token, before anything builds on it.

A few lines of aliases stand for billions of values, a thousand brackets are deeper than Python's stack, and a number of
thousands of digits takes longer to read than a recipe to train. No recipe, suite or study comes near these limits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MOST_CHARACTERS = 1_000_000
MOST_VALUES = 50_000  # with every alias and interpolation replaced by what it stands for
DEEPEST = 50
MOST_DIGITS = 100

_NUMBER = re.compile(r"[-+]?\.?[0-9][-+.0-9A-Fa-fxob_:]*")
_INTERPOLATION = re.compile(r"\$\{([^${}]*)\}")


@dataclass(frozen=True)
class Excess:
    """What a file has too much of.

    Attributes:
        message: In words.
        line: Where it is noticed, counted from 1.
    """

    message: str
    line: int


def excess_of(text: str) -> Excess | None:
    """What is too much in a YAML text.

    Raises:
        yaml.YAMLError: It is not YAML.
    """
    import yaml

    if len(text) > MOST_CHARACTERS:
        return Excess(f"{len(text):,} characters, at most {MOST_CHARACTERS:,} are read", 1)
    count = _Count()
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if message := count.take(event):
            return Excess(message, event.start_mark.line + 1 if event.start_mark else 1)
    return None


class _Count:
    """Counts what a document stands for, with its aliases replaced."""

    def __init__(self) -> None:
        self._values = 0
        self._open: list[tuple[str | None, int]] = []  # anchor of each open list or mapping, and the count before it
        self._sizes: dict[str, int] = {}

    def take(self, event: Any) -> str:
        """What is too much with this event; empty when nothing is."""
        import yaml

        if isinstance(event, yaml.AliasEvent):
            if event.anchor in {anchor for anchor, _ in self._open}:
                return f"&{event.anchor} holds itself"
            self._values += self._sizes.get(str(event.anchor), 1)
        elif isinstance(event, yaml.ScalarEvent):
            if event.style is None and len(event.value) > MOST_DIGITS and _NUMBER.fullmatch(event.value):
                return f"a number of {len(event.value):,} digits"
            self._values += 1
            self._note(event.anchor, self._values - 1)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._open.append((event.anchor, self._values))
            self._values += 1
            if len(self._open) > DEEPEST:
                return f"lists or sections more than {DEEPEST} deep"
        elif isinstance(event, yaml.CollectionEndEvent):
            self._note(*self._open.pop())
        return f"it stands for more than {MOST_VALUES:,} values" if self._values > MOST_VALUES else ""

    def _note(self, anchor: str | None, before: int) -> None:
        if anchor is not None:
            self._sizes[anchor] = self._values - before


def interpolates_too_much(values: Mapping[str, Any]) -> bool:
    """Whether values that take `${key}` from values that take `${key}` stand for more than a file may hold.

    A key that leads back to itself is left to OmegaConf, which says so.
    """
    sizes: dict[str, int] = {}

    def size(value: Any, at: str) -> int:
        if isinstance(value, Mapping):
            return 1 + sum(size(item, f"{at}.{key}") for key, item in value.items())
        if isinstance(value, list):
            return 1 + sum(size(item, f"{at}.{number}") for number, item in enumerate(value))
        if not isinstance(value, str):
            return 1
        return 1 + sum(named(_absolute(key, at)) for key in _INTERPOLATION.findall(value))

    def named(key: str) -> int:
        if key not in sizes:
            sizes[key] = 1  # for one that leads back to itself
            sizes[key] = min(size(_at(values, key), f".{key}"), MOST_VALUES + 1)
        return sizes[key]

    try:
        return size(values, "") > MOST_VALUES
    except RecursionError:  # a chain that OmegaConf cannot follow either
        return True


def _absolute(key: str, at: str) -> str:
    """A key as seen from the top: each dot at its beginning is one level up from the value that names it."""
    ups = len(key) - len(key.lstrip("."))
    name = key.lstrip(".").replace("[", ".").replace("]", "")
    return ".".join([*at.split(".")[1:][:-ups], name]) if ups else name


def _at(values: Mapping[str, Any], key: str) -> Any:
    found: Any = values
    for name in key.split("."):
        if isinstance(found, Mapping):
            found = found.get(name)
        elif isinstance(found, list) and name.isdigit() and int(name) < len(found):
            found = found[int(name)]
        else:
            return None
    return found
