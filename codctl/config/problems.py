"""Say what the schema refuses, in words that a user can act on, and where it was written."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from codctl.config.consistency import MisfitError
from codctl.config.explain import field_docs, listed_docs, listed_sections, nearest_key, sections
from codctl.config.overrides import Override
from codctl.config.schema import Config
from codctl.errors import Problem, UsageError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

# Keys of earlier versions, and what to know of them.
_GONE = {"engine.transport": "vLLM is always reached over HTTP now"}
_NUMBER_TYPES = ("int_type", "float_type", "bool_type")
_NUMBER = re.compile(r"[-+]?[0-9.]+([eE][-+]?[0-9]+)?|true|false")
_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True)
class Places:
    """Knows where each key was written: in an override, or on a line of a file.

    Attributes:
        file: The file as the user named it; empty when there is none.
        lines: Line of each dotted key of the file.
        overrides: In the order in which they were typed.
        model: The schema that the keys belong to.
        texts: Values of the file as they are written.
    """

    file: str
    lines: Mapping[str, int]
    overrides: Sequence[Override]
    model: type[BaseModel] = field(default=Config)
    texts: Mapping[str, str] = field(default_factory=dict)

    def override_of(self, key: str) -> Override | None:
        """The override that gave the key its value."""
        found = [o for o in self.overrides if key == o.key or key.startswith(f"{o.key}.")]
        if not found and key not in sections(self.model):
            # `train.lr.x=1` turns a value into a section.
            found = [o for o in self.overrides if o.key.startswith(f"{key}.")]
        return found[-1] if found else None

    def of(self, key: str, numbered: str) -> str:
        """Where a key was written; `numbered` is the key with the positions in lists, as the lines know them."""
        override = self.override_of(key)
        if override:
            return override.where
        line = self._line(key, numbered)
        return f"{self.file}:{line}" if line else self.file

    def order(self, key: str, numbered: str) -> tuple[bool, int]:
        """File first, by line; then the overrides, in their own order."""
        override = self.override_of(key)
        return (True, self.overrides.index(override)) if override else (False, self._line(key, numbered))

    def _line(self, key: str, numbered: str) -> int:
        return self.lines.get(numbered) or self.lines.get(key, 0)


def findings(error: ValidationError, places: Places) -> list[Problem]:
    """All that pydantic found, in the order in which the user wrote it."""
    details = sorted(error.errors(), key=lambda detail: places.order(_key(detail), _numbered(detail)))
    return [_problem(detail, places) for detail in details]


def usage_error(what: str, problems: Sequence[Problem]) -> UsageError:
    """One error for all problems with a recipe or a command line."""
    if len(problems) == 1:
        only = problems[0]
        return UsageError(only.message, where=only.where, hint=only.hint, problems=(only,))
    return UsageError(f"{len(problems)} problems with {what}", problems=tuple(problems))


def _problem(detail: ErrorDetails, places: Places) -> Problem:
    key, value, kind = _key(detail), detail["input"], detail["type"]
    where, model = places.of(key, _numbered(detail)), places.model
    if kind == "extra_forbidden" and model is Config and key in _GONE:
        return Problem(f"{key}: {_GONE[key]}", where, "delete the key")
    if kind == "extra_forbidden":
        near = nearest_key(key, model)
        message = f"unknown key {key}" + (f"; did you mean {near}?" if near else "")
        shown = key.rpartition(".")[0] if key.rpartition(".")[0] in listed_sections(model) else near
        if model is Config and not near:
            return Problem(message, where, "codctl recipe explain lists all keys")
        return Problem(message, where, f"codctl recipe explain {shown}" if model is Config else "")
    if kind == "value_error":
        reason, misfit = detail["ctx"]["error"], _misfit(detail)
        return Problem(f"{key}: {reason}" if key else str(reason), where, misfit.hint if misfit else "")
    docs = {doc.key: doc for doc in (*field_docs(model), *listed_docs(model))}
    if kind == "missing" and key in docs:
        return Problem(f"{key} is missing; expected {docs[key].expected}", where)
    if key in docs:
        near = detail.get("ctx", {}).get("near")  # of a name that does not exist
        hint = f"did you mean {key}={near}?" if near else _other_type(key, value, kind, places)
        hint = _way_off(key) if kind == "finite_number" else hint
        return Problem(f"{key}: expected {docs[key].expected}, got {_said(value)}", where, hint)
    if key in sections(model):
        inside = ", ".join(sections(model)[key])
        return Problem(f"{key}: expected a section with keys {inside}, got {_said(value)}", where)
    return Problem(f"{key}: {detail['msg']}", where)


def _key(detail: ErrorDetails) -> str:
    """The dotted key of a finding; positions within a list are left out."""
    if misfit := _misfit(detail):
        return misfit.key
    return ".".join(part for part in detail["loc"] if isinstance(part, str))


def _numbered(detail: ErrorDetails) -> str:
    """The dotted key of a finding with the positions within lists."""
    if misfit := _misfit(detail):
        return misfit.key
    return ".".join(map(str, detail["loc"]))


def _misfit(detail: ErrorDetails) -> MisfitError | None:
    reason = detail.get("ctx", {}).get("error")
    return reason if isinstance(reason, MisfitError) else None


def _said(value: Any) -> str:
    """A value as a recipe writes it: null, true, "text", inf."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_said, value))}]"
    return json.dumps(value, ensure_ascii=False, default=str)


def _other_type(key: str, value: Any, kind: str, places: Places) -> str:
    """How to write a number as text, or a text as a number."""
    override = places.override_of(key)
    if kind == "string_type" and isinstance(value, int | float):
        text = override.text.partition("=")[2] if override and override.key == key else _said(value)
        return f"quote it: '{key}=\"{text}\"'" if override else f'quote it: "{places.texts.get(key, text)}"'
    if kind in _NUMBER_TYPES and isinstance(value, str) and _NUMBER.fullmatch(value) and not override:
        return "leave the quotes out; from the environment: ${oc.decode:${oc.env:NAME}}"
    return ""


def _way_off(key: str) -> str:
    """How to switch off what an infinite bound was meant to switch off."""
    section, _, name = key.rpartition(".")
    if section.startswith("health.") and name == "limit":
        return f"{section}.action=off"
    return f"{key}=null" if key == "train.grad_clip" else ""


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
