"""Read `key=value` as typed on the command line, with Hydra's grammar but without its additions and sweeps."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codctl.config.credentials import redacted
from codctl.errors import Problem

_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
# Whole numbers and ranges of them, both ends included: 0..2 or 0..2,7.
RANGES = re.compile(r"(?=.*\.\.)-?\d+(\.\.-?\d+)?(,-?\d+(\.\.-?\d+)?)*")
OPTIONS = "options."  # keys of an evaluation's worlds that have a dot
_WORDS = ("null", "true", "false", "nan", "inf", "infinity")


@dataclass(frozen=True)
class Override:
    """One `key=value`. `place` is where it stands when that is not the command line: `study.yaml:7`."""

    text: str
    key: str
    value: Any
    place: str = ""

    @property
    def where(self) -> str:
        """How messages name it."""
        return self.place or f"override {redacted(self.text)}"

    @property
    def bare(self) -> str:
        """Without the `+` that Hydra would want for a new key: the schema says which keys exist."""
        return self.text.lstrip("+")


def parse_overrides(texts: Sequence[str], sweep: str = "") -> tuple[list[Override], list[Problem]]:
    """Keep the overrides that can be applied, and say what is wrong with the others.

    Args:
        texts: `key=value` each, as typed.
        sweep: Start of the command that takes several values of a key, where there is one.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    kept: list[Override] = []
    problems: list[Problem] = []
    for text in texts:
        where = f"override {text}"
        if text.startswith("~"):
            problems.append(Problem("a key cannot be removed; give it another value", where))
            continue
        key, _, typed = text.partition("=")
        if "=" not in text or not key:
            problems.append(Problem(f'expected key=value, got "{text}"', where))
            continue
        if RANGES.fullmatch(typed):
            problems.append(_several(key, text, sweep))
            continue
        try:
            override = parser.parse_override(text)
        except HydraException:
            problems.append(Problem("cannot be read as key=value", where, _quoting_hint(text)))
            continue
        key = override.key_or_group
        if override.package is not None:
            problems.append(Problem('expected key=value; "@" has no meaning here', where))
        elif override.is_sweep_override():
            problems.append(_several(key, text, sweep))
        elif key.split(".")[0] == "hydra":
            problems.append(Problem('unknown key "hydra"', where))
        elif any(key == other.key for other in kept):
            problems.append(Problem(f"{key} is given twice", where))
        else:
            kept.append(Override(text, key, override.value()))
    return kept, problems


def nested(overrides: Iterable[Override]) -> dict[str, Any]:
    """Their values as a mapping, in which the parts of a dotted key are sections."""
    found: dict[str, Any] = {}
    for override in overrides:
        *sections, key = override.key.split(".")
        place = found
        for section in sections:
            inner = place.setdefault(section, {})
            if not isinstance(inner, dict):
                inner = place[section] = {}
            place = inner
        place[key] = override.value
    return found


def _several(key: str, text: str, sweep: str) -> Problem:
    """Several values where one is meant."""
    a_list = f"a list is written '{key}=[a,b]'"
    trained = f"`{sweep} {shlex.quote(text)}` trains with each of them; {a_list}"
    return Problem(f"{key} takes one value", f"override {text}", trained if sweep else a_list)


def override_text(key: str, value: Any) -> str:
    """`key=value` such that reading it gives the same value again."""
    return f"{key}={_written(value)}"


def _written(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_written(str(key))}:{_written(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_written, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if not isinstance(value, str):
        return str(value)
    return value if _BARE.fullmatch(value) and value.lower() not in _WORDS else _quoted(value)


def _quoted(text: str) -> str:
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(text, Quote.double).with_quotes()


def _quoting_hint(text: str) -> str:
    key, _, value = text.partition("=")
    if value.startswith("~/"):
        return f"write the full path: {shlex.quote(f'{key}={Path(value).expanduser()}')}"
    return f"text with special characters is quoted twice: {shlex.quote(f'{key}={_quoted(value)}')}"
