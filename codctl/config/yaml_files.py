"""YAML files of recipes, suites and studies: within limits, sound, and on which line each key stands.

A few lines of aliases stand for billions of values, a thousand brackets are deeper than Python's stack, and a number of
thousands of digits takes longer to read than a recipe to train. No recipe, suite or study comes near these limits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codctl.errors import Problem

# What YAML takes for a number in base 60 or 8, and people for a time, an account or a number with a leading zero.
_MISREAD = re.compile(r"[-+]?([1-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?|0[0-9_]+)")
MOST_CHARACTERS = 1_000_000
MOST_VALUES = 50_000  # with every alias and interpolation replaced by what it stands for
DEEPEST = 50
MOST_DIGITS = 100
_NUMBER = re.compile(r"[-+]?\.?[0-9][-+.0-9A-Fa-fxob_:]*")
_INTERPOLATION = re.compile(r"\$\{([^${}]*)\}")


@dataclass(frozen=True)
class Source:
    """What was learned from the file itself.

    Attributes:
        lines: Line of each dotted key; items of a list are numbered (`evaluations.0.name`).
        keys: Keys at the top.
        groups: Config groups that its defaults list chooses from.
        problem: Why it cannot be composed.
        texts: The value of each dotted key as it is written, of those on one line.
    """

    lines: dict[str, int] = field(default_factory=dict)
    keys: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    problem: Problem | None = None
    texts: dict[str, str] = field(default_factory=dict)


def read_source(path: Path, shown: str, kind: str = "recipe") -> Source:
    """Look at a file before its values are used. `shown` is how messages name it, `kind` what it should be."""
    import yaml
    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return _refused(f"cannot be read: {error}", shown)
    try:
        if excess := excess_of(text):
            return _refused(f"too much for a {kind}: {excess.message}", f"{shown}:{excess.line}")
        # Only positions are taken from this: PyYAML misreads values such as 1e-5.
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        loaded = OmegaConf.load(path)  # finds duplicate keys as well
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        return _refused(f"broken YAML: {error.problem or error}", f"{shown}:{mark.line + 1}" if mark else shown)
    except (yaml.YAMLError, ValueError, OmegaConfBaseException) as error:  # ValueError: !!int and dates of other text
        return _refused(f"broken YAML: {' '.join(str(error)[:300].split())}", shown)
    if not isinstance(loaded, DictConfig):
        return _refused(f"a {kind} is a mapping of keys to values", shown)
    hydra = loaded.get("hydra") if kind == "recipe" else None
    if hydra is not None and (not isinstance(hydra, DictConfig) or set(hydra) != {"searchpath"}):
        return _refused('of "hydra" a recipe may only set hydra.searchpath', shown)
    lines: dict[str, int] = {}
    texts: dict[str, str] = {}
    _collect(node, "", lines, texts)
    for key, text in texts.items():
        if _MISREAD.fullmatch(text):
            message = f"{key}: YAML reads {text} as {_as_number(text)}"
            hint = (
                'put it into quotes; a time is "H:MM:SS"' if ":" in text else f'quote it: "{text}", or leave the 0 out'
            )
            return _refused(message, f"{shown}:{lines[key]}", hint)
    return Source(lines, frozenset(str(key) for key in loaded), _groups(loaded.get("defaults")), texts=texts)


def values_of(path: Path) -> dict[str, Any]:
    """The values of a file that is sound (`read_source`), as plain data."""
    from omegaconf import OmegaConf

    values: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    return {str(key): value for key, value in values.items()}


def _refused(message: str, where: str, hint: str = "") -> Source:
    return Source(problem=Problem(message, where, hint))


def _as_number(text: str) -> object:
    import yaml

    return yaml.safe_load(text)


def _groups(defaults: Any) -> frozenset[str]:
    from omegaconf import DictConfig, ListConfig

    if not isinstance(defaults, ListConfig):
        return frozenset()
    names = (str(key) for entry in defaults if isinstance(entry, DictConfig) for key in entry)
    return frozenset(name.removeprefix("override ").removeprefix("optional ") for name in names)


def _collect(node: Any, prefix: str, lines: dict[str, int], texts: dict[str, str]) -> None:
    import yaml

    if isinstance(node, yaml.ScalarNode) and node.style is None:
        texts[prefix.rstrip(".")] = node.value

    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            lines[f"{prefix}{number}"] = item.start_mark.line + 1
            _collect(item, f"{prefix}{number}.", lines, texts)
    if not isinstance(node, yaml.MappingNode):
        return
    for key_node, value_node in node.value:
        key = f"{prefix}{key_node.value}"
        lines[key] = key_node.start_mark.line + 1
        _collect(value_node, f"{key}.", lines, texts)


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
