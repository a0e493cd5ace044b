"""Read `key=value` as typed on the command line, with Hydra's grammar but without its additions and sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from codctl.errors import Problem


@dataclass(frozen=True)
class Override:
    """One `key=value`."""

    text: str
    key: str
    value: Any

    @property
    def bare(self) -> str:
        """Without the `+` that Hydra would want for a new key: the schema says which keys exist."""
        return self.text.lstrip("+")


def parse_overrides(texts: Sequence[str]) -> tuple[list[Override], list[Problem]]:
    """Keep the overrides that can be applied, and say what is wrong with the others."""
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
        if "=" not in text:
            problems.append(Problem(f'expected key=value, got "{text}"', where))
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
            problems.append(Problem(f"{key} takes one value", where, f"a list is written '{key}=[a,b]'"))
        elif key.split(".")[0] == "hydra":
            problems.append(Problem('unknown key "hydra"', where))
        elif any(key == other.key for other in kept):
            problems.append(Problem(f"{key} is given twice", where))
        else:
            kept.append(Override(text, key, override.value()))
    return kept, problems


def _quoting_hint(text: str) -> str:
    key, _, value = text.partition("=")
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    return f"text with special characters is quoted twice: '{key}=\"{quoted}\"'"
