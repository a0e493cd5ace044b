"""A recipe or suite as a file: whether it is sound YAML, and on which line each key stands."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codctl.errors import Problem

# What YAML takes for a number in base 60 or 8, and people for a time, an account or a number with a leading zero.
_MISREAD = re.compile(r"[-+]?([1-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?|0[0-9_]+)")


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

    from codctl.config.yaml_limits import excess_of

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
