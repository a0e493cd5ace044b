"""A suite file: evaluations, each with its worlds and whatever else it sets; read together with the `key=value` of
`codctl eval`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from codctl import trust
from codctl.config.evalspec import STRATEGY_KEYS, EvalSpec
from codctl.config.overrides import OPTIONS, Override, nested, parse_overrides
from codctl.config.problems import SectionReader, usage_error
from codctl.config.schema import Section, cosmetic, evaluation
from codctl.config.schema.world import WorldOptions
from codctl.config.yaml_files import read_source, values_of
from codctl.errors import Problem

WORLD_KEYS = ("family", "preset", "variant")

_COMMAND_LINE = "the command line"
_LIST = "evaluations"


class WorldChoice(Section):
    """One kind of world. What is left out, the subject's training or the family decides."""

    family: str = Field(description="Family of worlds (`codctl env list`).")
    preset: str | None = evaluation(None, "Difficulty preset of the family.")
    variant: str | None = evaluation(None, "Distribution of worlds; null is the family's first.")
    options: WorldOptions = evaluation({}, "Settings of the variant's own, where it has some: `{data: FILE.jsonl}`.")


class SuiteEntry(EvalSpec):
    """One evaluation of a suite. Every key but the name may be left out."""

    name: str = Field(description="What its results are called.", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    worlds: Literal["trained", "harder", "others"] = evaluation(
        "trained", "Worlds of the training, their harder presets, or other families; or a list of worlds."
    )


class SuiteHead(Section):
    """The top of a suite file, without its evaluations."""

    name: str = Field(description="Name of the suite.", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    description: str = cosmetic("", "What it asks, in one line.")


@dataclass(frozen=True)
class EntrySpec:
    """One evaluation of a suite, checked.

    Attributes:
        name: Of the evaluation.
        worlds: Which worlds it wants.
        given: The keys of an evaluation that the file or the command line set.
    """

    name: str
    worlds: Literal["trained", "harder", "others"] | tuple[WorldChoice, ...]
    given: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SuiteSpec:
    """A suite with the overrides of the command line, checked; the worlds are not looked up yet.

    Attributes:
        name: Of the suite.
        description: What it asks.
        entries: Its evaluations.
        overridden: Keys that the command line set.
    """

    name: str
    description: str
    entries: tuple[EntrySpec, ...]
    overridden: frozenset[str] = frozenset()


def load_suite(path: Path, shown: str, overrides: Sequence[str] = (), *, of_user: bool = True) -> SuiteSpec:
    """Read a suite and apply overrides to each of its evaluations.

    Args:
        path: The YAML file.
        shown: How messages name it.
        overrides: `key=value` each, as typed.
        of_user: Whether the user has named file and overrides, so that plug-ins in them may be imported.

    Raises:
        UsageError: With all problems at once.
    """
    parsed, problems = parse_overrides(overrides)
    source = read_source(path, shown, "suite")
    if source.problem:
        raise usage_error(shown, [source.problem, *problems])
    values = values_of(path)
    naming = [override for override in parsed if override.key == "name"]
    problems += [Problem("name: the suite names its evaluations", f"override {o.text}") for o in naming]
    parsed = _gathered([override for override in parsed if override not in naming])
    reader = _Reader(shown, source.lines, overrides=parsed)
    head = reader.section(SuiteHead, {k: v for k, v in values.items() if k != _LIST}, "", ())
    entries = reader.entries(values.get(_LIST))
    reader.unused_overrides(entries)
    found = list(dict.fromkeys([*reader.problems, *problems]))  # an override is wrong in every entry alike
    if found or head is None:
        from_file = any(not problem.where.startswith("override ") for problem in found)
        raise usage_error(shown if from_file else _COMMAND_LINE, found)
    if of_user:
        trust.remember_imports([entry.given for entry in entries])
    return SuiteSpec(head.name, head.description, tuple(entries), frozenset(override.key for override in parsed))


@dataclass
class _Reader(SectionReader):
    """Reads the evaluations of a suite.

    Attributes:
        overrides: In the order typed.
    """

    overrides: Sequence[Override] = ()

    def entries(self, found: Any) -> list[EntrySpec]:
        if not isinstance(found, list) or not found or not all(isinstance(item, dict) for item in found):
            self.refuse("evaluations: expected a list of sections with keys name, worlds, strategy, …", _LIST)
            return []
        entries: list[EntrySpec] = []
        for number, item in enumerate(found):
            if entry := self._entry(item, f"{_LIST}.{number}."):
                if any(entry.name == other.name for other in entries):
                    self.refuse(f"name: two evaluations are called {entry.name!r}", f"{_LIST}.{number}.name")
                entries.append(entry)
        return entries

    def unused_overrides(self, entries: Sequence[EntrySpec]) -> None:
        """A key of a strategy that no evaluation plays would be given in vain."""
        for override in self.overrides:
            needed = STRATEGY_KEYS.get(override.key)
            if needed and entries and not any(override.key in entry.given for entry in entries):
                message = f"{override.key} belongs to strategy {needed}, which no evaluation of this suite plays"
                self.problems.append(Problem(message, f"override {override.text}", f"strategy={needed}"))

    def _entry(self, item: dict[str, Any], prefix: str) -> EntrySpec | None:
        own = {str(key): value for key, value in item.items()}
        overridden = {override.key: override.value for override in self.overrides}
        values = {**own, **overridden}
        worlds = self._worlds(values.pop("worlds"), f"{prefix}worlds.") if _is_list(values.get("worlds")) else None
        section = self.section(SuiteEntry, values, prefix, self.overrides)
        if section is None:
            return None
        given = {key: getattr(section, key) for key in section.model_fields_set - {"name", "worlds"}}
        for key, needed in STRATEGY_KEYS.items():
            if key in given and section.strategy != needed:
                del given[key]
                if key in own and "strategy" not in overridden:
                    message = f"{key} belongs to strategy {needed}, this evaluation plays {section.strategy}"
                    self.refuse(message, prefix + key)
        return EntrySpec(section.name, worlds or section.worlds, given)

    def _worlds(self, items: Sequence[Any], prefix: str) -> tuple[WorldChoice, ...]:
        chosen = []
        for number, item in enumerate(items):
            values = {"family": item} if isinstance(item, str) else item
            if not isinstance(values, dict):
                self.refuse(
                    "worlds: expected families, or sections with keys family, preset, variant", f"{prefix}{number}"
                )
            elif choice := self.section(WorldChoice, values, f"{prefix}{number}.", ()):
                chosen.append(choice)
        return tuple(chosen)


def _gathered(overrides: list[Override]) -> list[Override]:
    """With `options.data=FILE options.fusion=sum` as one override of `options`."""
    dotted = [override for override in overrides if override.key.startswith(OPTIONS)]
    if not dotted:
        return overrides
    whole = Override(" ".join(override.text for override in dotted), "options", nested(dotted)["options"])
    return [*(override for override in overrides if override not in dotted), whole]


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value)
