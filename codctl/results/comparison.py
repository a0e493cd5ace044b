"""Two models or more on the same packs: success and reward of each, and differences within packs with intervals.

Shape suffixes: M models, P packs, S positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from codctl.cod.strategies import of_result
from codctl.errors import UsageError
from codctl.results.statistics import Estimates, Floats, averages, differences, means, shares
from codctl.runs.eval_result import Curve, Estimate, PartHead, PartResult, PositionPoint, Subject, to_json

# How a model is sampled may differ, and is said.
_SAMPLING = (
    "rendering",
    "temperature",
    "solve_tokens",
    "update_tokens",
    "suggested_tokens",
    "answers",
    "update",
    "seeds",
)

Table = dict[tuple[int, str], dict[int, list[float]]]  # by number and id of the pack: values by position, of all seeds


@dataclass(frozen=True)
class Compared:
    """One evaluation to be compared.

    Attributes:
        name: Of the evaluation, for messages.
        parts: Of its result.
        tables: By part and arm: success of each pack; empty where the arm was not played.
        rewards: The same of the raw reward, in graded families.
    """

    name: str
    parts: Sequence[PartResult]
    tables: dict[tuple[str, str], Table]
    rewards: dict[tuple[str, str], Table] = field(default_factory=dict)


@dataclass(frozen=True)
class Numbers:
    """What `Side` has of success, of one measure."""

    curve: Curve
    mean: Estimate | None
    gain: Estimate | None


@dataclass(frozen=True, kw_only=True)
class Side:
    """A model, or the difference between two, on the common packs.

    Attributes:
        success: By position.
        mean: Over positions; None where no pack was played whole, as the next.
        gain: Last position less the first; None also for packs of one task.
        raw_reward: Of a graded family; None, and not in JSON, for others.
    """

    success: Curve
    mean: Estimate | None
    gain: Estimate | None
    raw_reward: Annotated[Numbers | None, Field(exclude_if=lambda value: value is None)] = None


@dataclass(frozen=True, kw_only=True)
class Difference(Side):
    """What model number `model` is better by than number `against`."""

    model: int
    against: int


@dataclass(frozen=True)
class ComparedArm:
    models: tuple[Side, ...]
    differences: tuple[Difference, ...]


@dataclass(frozen=True, kw_only=True)
class ComparedPart(PartHead):
    """One part on the packs that all have.

    Attributes:
        played: Packs of each model.
        positions: Of the tasks.
        notes: What differs beside the model.
        arms: Those that all have.
    """

    played: tuple[int, ...]
    positions: tuple[int, ...]
    notes: tuple[str, ...]
    arms: dict[str, ComparedArm]


@dataclass(frozen=True)
class ComparedModel:
    """A model, and the folder of its evaluation."""

    title: str
    subject: Subject
    suite: str
    evaluation: str


@dataclass(frozen=True)
class Comparison:
    """What `codctl evals compare` found."""

    models: tuple[ComparedModel, ...]
    parts: tuple[ComparedPart, ...]
    report: str
    command: tuple[str, ...]
    codctl_version: str

    def to_json(self) -> dict[str, Any]:
        body = to_json(self)
        for shown, model in zip(body["models"], self.models, strict=True):
            shown["subject"] = to_json(model.subject)
        return body


def compare(played: Sequence[Compared]) -> tuple[ComparedPart, ...]:
    """What all of them played, part by part; the others are compared with the first.

    Raises:
        UsageError: They have no part, arm or pack in common.
    """
    found = [_part(question, played) for question in _common_questions(played)]
    compared = tuple(part for part in found if part is not None)
    if not compared:
        raise UsageError("these evaluations have no pack and arm in common", hint="play the same suite with both")
    return compared


def _common_questions(played: Sequence[Compared]) -> list[tuple[object, ...]]:
    asked = [[_question(part) for part in one.parts] for one in played]
    common = [question for question in dict.fromkeys(asked[0]) if all(question in other for other in asked[1:])]
    if not common:
        lists = "; ".join(f"{one.name}: {', '.join(part.name for part in one.parts)}" for one in played)
        raise UsageError(f"these evaluations have no part in common ({lists})", hint="play the same suite with both")
    return common


def _question(part: PartResult) -> tuple[object, ...]:
    """Parts are the same question when these are the same."""
    world = (part.family, part.preset, part.variant)
    distractors = (part.distractors.family, part.distractors.preset) if part.distractors else None
    return (*world, part.strategy, part.length, part.split, part.drift_at, part.poison, distractors)


def _part(question: tuple[object, ...], played: Sequence[Compared]) -> ComparedPart | None:
    """One part on the packs that all have; None when no arm or pack is common."""
    parts = [next(part for part in one.parts if _question(part) == question) for one in played]
    first = parts[0]
    common = [arm for arm in first.arms if all(arm in part.arms for part in parts)]
    names = [part.name for part in parts]
    tables = {arm: [one.tables.get((name, arm), {}) for one, name in zip(played, names, strict=True)] for arm in common}
    packs = _common_packs([table for found in tables.values() for table in found])
    if not packs:
        return None
    groups_P, positions = _worlds(first, packs), first.positions
    ends = first.graded.ends if first.graded and all(part.graded for part in parts) else None

    def arm_of(arm: str) -> ComparedArm:
        success_MPS = np.stack([_values(table, packs, positions) for table in tables[arm]])
        found = _of_success(success_MPS, positions, groups_P)
        if ends is None:
            return found
        rewards = [one.rewards.get((name, arm), {}) for one, name in zip(played, names, strict=True)]
        rewards_MPS = np.stack([_values(table, packs, positions) for table in rewards])
        return _with_rewards(found, rewards_MPS, positions, groups_P, ends)

    return ComparedPart(
        name=first.name,
        family=first.family,
        preset=first.preset,
        variant=first.variant,
        strategy=first.strategy,
        length=first.length,
        packs=len(packs),
        played=tuple(part.packs for part in parts),
        positions=positions,
        notes=_notes(parts),
        arms={arm: arm_of(arm) for arm in common},
    )


def _common_packs(tables: Iterable[Table]) -> list[tuple[int, str]]:
    packs = [set(table) for table in tables]
    return sorted(set.intersection(*packs)) if packs else []


def _worlds(part: PartResult, packs: Sequence[tuple[int, str]]) -> list[int] | None:
    """Packs in a row that are of one world count as one; unless it is a single world."""
    if of_result(part).packs_per_world(part.length) == 1 or not part.length:
        return None
    numbers = [number // part.length for number, _ in packs]
    return numbers if len(set(numbers)) > 1 else None


def _values(table: Table, packs: Sequence[tuple[int, str]], positions: Sequence[int]) -> Floats:
    values_PS = np.full((len(packs), len(positions)), np.nan)
    for p, pack in enumerate(packs):
        for s, position in enumerate(positions):
            if found := table.get(pack, {}).get(position):
                values_PS[p, s] = sum(found) / len(found)
    return values_PS


def _of_success(values_MPS: Floats, positions: Sequence[int], groups_P: Sequence[int] | None) -> ComparedArm:
    level, change = partial(shares, groups_P=groups_P), partial(differences, groups_P=groups_P)
    models = [_numbers(values_PS, positions, level, change) for values_PS in values_MPS]
    change_of_gain = partial(differences, groups_P=groups_P, reach=2.0)
    others = [_numbers(values_PS, positions, change, change_of_gain) for values_PS in values_MPS[1:] - values_MPS[0]]
    return ComparedArm(
        tuple(Side(success=one.curve, mean=one.mean, gain=one.gain) for one in models),
        tuple(
            Difference(success=one.curve, mean=one.mean, gain=one.gain, model=number, against=0)
            for number, one in enumerate(others, 1)
        ),
    )


def _with_rewards(
    found: ComparedArm,
    values_MPS: Floats,
    positions: Sequence[int],
    groups_P: Sequence[int] | None,
    ends: tuple[float, float],
) -> ComparedArm:
    """The same with the raw rewards, which lie between `ends`."""
    level, change = partial(means, groups_P=groups_P, ends=ends), partial(averages, groups_P=groups_P)
    models = [_numbers(values_PS, positions, level, change) for values_PS in values_MPS]
    others = [_numbers(values_PS, positions, change, change) for values_PS in values_MPS[1:] - values_MPS[0]]
    return ComparedArm(
        tuple(replace(side, raw_reward=one) for side, one in zip(found.models, models, strict=True)),
        tuple(replace(side, raw_reward=one) for side, one in zip(found.differences, others, strict=True)),
    )


def _numbers(
    values_PS: Floats,
    positions: Sequence[int],
    level: Callable[[Sequence[Floats]], Estimates],
    change: Callable[[Sequence[Floats]], Estimates],
) -> Numbers:
    """One measure of a model, or the difference of two.

    Args:
        values_PS: The values.
        positions: Of the tasks.
        level: Estimates means.
        change: Estimates means of differences between two positions.
    """
    gain = _only(change([values_PS[:, -1:] - values_PS[:, :1]])) if len(positions) > 1 else None
    mean = _only(level([values_PS.mean(axis=1, keepdims=True)]))
    return Numbers(_curve(level([values_PS]), positions), mean, gain)


def _curve(found: Estimates, positions: Sequence[int]) -> Curve:
    points = (PositionPoint(*_at(found, s), position) for s, position in enumerate(positions))
    return tuple(point for point in points if not np.isnan(point.mean))


def _only(found: Estimates) -> Estimate | None:
    return None if np.isnan(found.mean_C[0]) else Estimate(*_at(found, 0))


def _at(found: Estimates, column: int) -> tuple[float, float, float]:
    return float(found.mean_C[column]), float(found.low_C[column]), float(found.high_C[column])


def _notes(parts: Sequence[PartResult]) -> tuple[str, ...]:
    """What differs beside the model."""
    notes = []
    for key in _SAMPLING:
        values = [str(_plain(getattr(part, key))) for part in parts]
        if len(set(values)) > 1:
            notes.append(f"{key.replace('_', ' ')} differs: {', '.join(values)}")
    return tuple(notes)


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
