"""A configuration of Trinity-RFT: an OmegaConf file whose values may come from the environment."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codctl.config.credentials import guard_variables, refusal
from codctl.config.problems import usage_error
from codctl.config.yaml_files import interpolates_too_much, read_source, values_of
from codctl.errors import Problem

KIND = "configuration of Trinity-RFT"
_RESOLVER = re.compile(r"\$\{\s*([A-Za-z_][\w.]*)\s*:")
_ALLOWED = ("oc.env", "oc.decode")


@dataclass(frozen=True)
class Configuration:
    """What a file says.

    Attributes:
        shown: How messages name the file.
        values: With everything taken from the environment that it asks for.
        lines: Line of each dotted key; items of a list are numbered.
    """

    shown: str
    values: dict[str, Any]
    lines: Mapping[str, int]

    def where(self, key: str) -> str:
        line = self.lines.get(key)
        return f"{self.shown}:{line}" if line else self.shown

    def leaves(self) -> dict[str, Any]:
        """Every value by its dotted key. Lists of plain values are values; items of other lists are numbered."""
        return dict(_leaves(self.values, ""))


def read_configuration(path: Path) -> Configuration:
    """Read a file, and take what it asks for from the environment.

    Raises:
        UsageError: It cannot be read, asks for a variable that is not set or that looks like a secret, or has an
            interpolation other than `${key}`, `oc.env` and `oc.decode`.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    shown = str(path)
    source = read_source(path, shown, KIND)
    if source.problem:
        raise usage_error(shown, [source.problem])
    written = values_of(path)
    for key, text in _leaves(written, ""):
        found = [name for name in _RESOLVER.findall(str(text)) if name not in _ALLOWED]
        if found:
            problem = Problem(
                f"{key}: ${{{found[0]}:…}} is not resolved here, only ${{oc.env:…}} and ${{oc.decode:…}}",
                f"{shown}:{source.lines.get(key, 1)}",
                "write the value itself",
            )
            raise usage_error(shown, [problem])
    if interpolates_too_much(written):
        raise usage_error(shown, [Problem("too much for a configuration: its ${…} stand for too many values", shown)])
    guard_variables()
    try:
        values: Any = OmegaConf.to_container(OmegaConf.create(written), resolve=True)
    except OmegaConfBaseException as error:
        key = str(getattr(error, "full_key", "") or "").replace("[", ".").replace("]", "")
        where = f"{shown}:{source.lines.get(key, 1)}"
        raise usage_error(shown, [refusal(error, key, where) or _unresolved(error, key, where)]) from None
    return Configuration(shown, {str(name): value for name, value in values.items()}, source.lines)


def _unresolved(error: Exception, key: str, where: str) -> Problem:
    text = " ".join(str(error).partition("    full_key:")[0].split())
    unset = re.search(r"Environment variable '(\w+)' not found", text)
    if unset:
        return Problem(f"{key}: the environment has no {unset[1]}", where, f"export {unset[1]}=…")
    return Problem(f"{key}: {text}", where)


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from _leaves(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value):
        for number, item in enumerate(value):
            yield from _leaves(item, f"{key}.{number}")
    else:
        yield key, value
