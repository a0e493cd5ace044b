"""The trials of a sweep or study: every combination, composed once, validated and digested one by one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from codctl.config.compose import Draft, draft
from codctl.config.explain import sections
from codctl.config.freeze import digest, identity_fields
from codctl.config.names import plain
from codctl.config.overrides import Override, override_text
from codctl.config.problems import usage_error
from codctl.config.schema import Config
from codctl.config.search import whole_groups
from codctl.errors import Problem, UsageError
from codctl.seeds import text_digest
from codctl.sweeps.axes import Axis, combinations

MOST_TRIALS = 10_000
_MOST_PROBLEMS = 20
_LONGEST_NAME, _LONGEST_VALUE = 100, 32
_BLANK = Path(__file__).parent / "blank.yaml"  # a recipe that sets nothing


@dataclass(frozen=True)
class Suite:
    """What every trained model of a sweep plays.

    Attributes:
        name: Of its results.
        suite: A shipped suite, or a file.
        overrides: `key=value` each.
    """

    name: str
    suite: str
    overrides: tuple[Override, ...] = ()

    @property
    def texts(self) -> list[str]:
        return [override.text for override in self.overrides]


@dataclass(frozen=True)
class Base:
    """What all trials of one row of the matrix have in common.

    Attributes:
        labels: What the row is called: training set and ablation; empty for a plain sweep.
        recipe: To start from; None for the defaults of every key.
        overrides: In the order in which they are set.
        place: Where it stands, for a study.
    """

    labels: Mapping[str, str]
    recipe: str | None
    overrides: tuple[Override, ...]
    place: str = ""

    @property
    def key(self) -> str:
        return "/".join(self.labels.values())


@dataclass(frozen=True)
class Trial:
    """One training.

    Attributes:
        name: Of its folder within the sweep.
        config: Validated; it has the same name.
        digest: Of the config: trials with the same one are the same.
        labels: Its place in the matrix.
        overrides: `key=value` each, which make the config from the recipe.
        recipe: To start from; None for the defaults of every key.
        base: Key of its row.
    """

    name: str
    config: Config
    digest: str
    labels: Mapping[str, Any]
    overrides: tuple[str, ...]
    recipe: str | None
    base: str

    def renamed(self, name: str) -> Trial:
        return replace(self, name=name, config=self.config.model_copy(update={"name": name}))

    def command(self) -> list[str]:
        """The command that trains the same model alone; empty when it starts from no recipe."""
        return ["codctl", "train", self.recipe, *self.overrides, f"name={self.name}"] if self.recipe else []


@dataclass(frozen=True)
class Plan:
    """Everything that a command asks for.

    Attributes:
        name: Of the sweep.
        kind: sweep or study.
        description: In one line.
        source: Recipe or study file, as named.
        size: Of the study.
        axes: Values by key, in the order typed.
        trials: Each once.
        suites: What every trained model plays.
        bases: Identity fields by row, without the axes: what must not change under one name.
        repeated: Combinations that mean the same as another one.
    """

    name: str
    kind: str
    source: str
    axes: Mapping[str, Sequence[Any]]
    trials: tuple[Trial, ...]
    suites: tuple[Suite, ...]
    bases: Mapping[str, Mapping[str, Any]]
    description: str = ""
    size: str | None = None
    repeated: int = 0


def make_trials(bases: Sequence[Base], axes: Sequence[Axis], what: str) -> tuple[tuple[Trial, ...], int]:
    """Every combination of bases and axes, each config once, and how many were left out as repeated.

    Args:
        bases: Rows of the matrix.
        axes: The last one turns fastest.
        what: How messages name the sweep.

    Raises:
        UsageError: All that is wrong with recipe, study and axes, each problem once.
    """
    total = len(bases)
    for axis in axes:
        total *= len(axis.values)
    if total > MOST_TRIALS:
        raise UsageError(
            f"{total} trials are too many: a sweep may have {MOST_TRIALS}",
            where=what,
            hint="fewer axes, or several sweeps",
        )
    maker = _Maker()
    found: dict[str, Trial] = {}
    for base in bases:
        for combination in combinations(axes):
            trial = maker.trial(base, combination)
            if trial is not None:
                found.setdefault(trial.digest, trial)
            elif len(maker.problems) > _MOST_PROBLEMS:
                break
    if maker.problems:
        raise usage_error(what, list(maker.problems))
    return named_apart(found.values()), total - len(found)


@dataclass
class _Maker:
    """Composes each recipe and choice of groups once."""

    problems: dict[Problem, None] = field(default_factory=dict)
    _drafts: dict[tuple[str, ...], Draft | None] = field(default_factory=dict)

    def trial(self, base: Base, combination: Sequence[Override]) -> Trial | None:
        """One trial, or None when something is wrong with it."""
        given = [*base.overrides, *combination]
        values = {override.key: override.value for override in combination}
        drafted = self._draft(base, [override for override in given if _is_choice(override)])
        if drafted is None:
            return None
        name = _name(base.labels, values) or drafted.values["name"]
        changes = [override for override in given if not _is_choice(override)]
        try:
            config = drafted.config([*changes, Override(f"name={name}", "name", name)])
        except UsageError as error:
            self.problems.update(dict.fromkeys(error.problems))
            return None
        texts = tuple(override_text(override.key, override.value) for override in _last_of_each(given))
        return Trial(name, config, digest(config), {**base.labels, **values}, texts, base.recipe, base.key)

    def _draft(self, base: Base, choices: Sequence[Override]) -> Draft | None:
        recipe = base.recipe or str(_BLANK)
        single = [replace(one, text=override_text(one.key, one.value)) for one in _last_of_each(choices)]
        key = (recipe, *(one.text for one in single))
        if key not in self._drafts:
            self._drafts[key] = None
            try:
                self._drafts[key] = draft(recipe, single)
            except UsageError as error:
                problems = error.problems or (Problem(error.message, error.where, error.hint),)
                self.problems.update(dict.fromkeys(problems))
        return self._drafts[key]


def base_identities(trials: Sequence[Trial], axes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What the trials of each row have in common and what changes their results."""
    found: dict[str, dict[str, Any]] = {}
    for trial in trials:
        if trial.base not in found:
            found[trial.base] = without(identity_fields(trial.config), axes)
    return found


def without(identity: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """Identity fields that none of the keys sets; a key may be a group that sets several."""
    every = {*keys, *(inner for key in keys for inner in whole_groups().get(key, ()))}
    return {
        name: value
        for name, value in identity.items()
        if not any(name == key or name.startswith(f"{key}.") for key in every)
    }


def value_at(config: Config, key: str) -> Any:
    """The value of a dotted key, as JSON knows it; a section counts as None."""
    found: Any = config.model_dump(mode="json")
    for part in key.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return None if isinstance(found, dict) else found


def _is_choice(override: Override) -> bool:
    """Whether it chooses from a config group: the name of a section or of such a group, given one word."""
    is_group = override.key in sections() or override.key in whole_groups()
    return "." not in override.key and is_group and isinstance(override.value, str)


def _last_of_each(overrides: Sequence[Override]) -> list[Override]:
    """Without those whose key is set again later."""
    kept: dict[str, Override] = {}
    for override in overrides:
        kept.pop(override.key, None)
        kept[override.key] = override
    return list(kept.values())


def _name(row: Mapping[str, str], values: Mapping[str, Any]) -> str:
    """`frozen_lake-cod-seed-0`, `lr-0.001-seed-2`; empty when there is nothing to tell apart."""
    parts = [*row.values(), *(f"{key.rpartition('.')[2]}-{_plain(value)}" for key, value in values.items())]
    name = "-".join(parts)
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}-{_short_hash(name)}"


def _plain(value: Any) -> str:
    """A value as part of a folder's name."""
    text = value if isinstance(value, str) else override_text("", value).removeprefix("=")
    shown = plain(text).strip(".") or "empty"
    return shown if len(shown) <= _LONGEST_VALUE else f"{shown[:_LONGEST_VALUE]}-{_short_hash(text)}"


def _short_hash(text: str) -> str:
    return text_digest(text)[:6]


def named_apart(trials: Iterable[Trial], known: Mapping[str, str] = MappingProxyType({})) -> tuple[Trial, ...]:
    """Trials under names of their own; one that would take the name of another adds some of its digest.

    Args:
        trials: As they would be named.
        known: Names that some have already, by digest.
    """
    taken = set(known.values())
    found = []
    for trial in trials:
        name = known.get(trial.digest)
        if name is None:
            name = trial.name if trial.name not in taken else f"{trial.name}-{trial.digest[:6]}"
            taken.add(name)
        found.append(trial if name == trial.name else trial.renamed(name))
    return tuple(found)
