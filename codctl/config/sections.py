"""Validate the sections of one file one by one, so that each finding knows its line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from codctl.config.findings import Places, findings
from codctl.config.overrides import Override
from codctl.errors import Problem

_Model = TypeVar("_Model", bound=BaseModel)


@dataclass
class SectionReader:
    """Collects what is wrong with a file.

    Attributes:
        shown: How messages name the file.
        lines: Line of each dotted key.
        problems: Found so far.
    """

    shown: str
    lines: Mapping[str, int]
    problems: list[Problem] = field(default_factory=list)

    def section(
        self, model: type[_Model], values: Mapping[str, Any], prefix: str, overrides: Sequence[Override] = ()
    ) -> _Model | None:
        """The section whose keys begin with `prefix`, or None when something is wrong with it."""
        start = self.lines.get(prefix.rstrip("."), 1)
        inner = {key.removeprefix(prefix): line for key, line in self.lines.items() if key.startswith(prefix)}
        lines = {**dict.fromkeys(model.model_fields, start), **inner}  # a missing key: where its section begins
        try:
            return model.model_validate(values)
        except ValidationError as error:
            self.problems += findings(error, Places(self.shown, lines, overrides, model))
            return None

    def refuse(self, message: str, key: str, hint: str = "") -> None:
        """Note that something is wrong with a key."""
        self.problems.append(Problem(message, self.place(key), hint))

    def place(self, key: str) -> str:
        """Where a key stands; for a key that is missing, the section that should hold it."""
        while key and key not in self.lines:
            key = key.rpartition(".")[0]
        return f"{self.shown}:{self.lines[key]}" if key else self.shown
