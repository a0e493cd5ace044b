"""Two models or more on the same packs: success of each, and differences within packs with intervals.

Shape suffixes: M models, P packs, S positions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from codctl.cod.strategies import of_result
from codctl.errors import UsageError
from codctl.results.statistics import Estimates, Floats, differences, shares

# Parts are the same question when these are the same; how a model is sampled may differ, and is said.
_QUESTION = ("family", "preset", "variant", "strategy", "length", "split", "drift_at", "poison")
_SAMPLING = ("rendering", "temperature", "solve_tokens", "update_tokens", "suggested_tokens", "answers", "seeds")


@dataclass(frozen=True)
class Played:
    """One evaluation.

    Attributes:
        name: Of the evaluation, for messages.
        title: The model that it is about.
        parts: Of its result.
        rows: One for each part, arm, seed, pack and position.
    """

    name: str
    title: str
    parts: Sequence[Mapping[str, Any]]
    rows: Sequence[Mapping[str, Any]]


def compare(played: Sequence[Played]) -> list[dict[str, Any]]:
    """What all of them played, part by part; the others are compared with the first.

    Raises:
        UsageError: They have no part, arm or pack in common.
    """
    found = [_part(question, played) for question in _common_questions(played)]
    compared = [part for part in found if part is not None]
    if not compared:
        raise UsageError("these evaluations have no pack and arm in common", hint="play the same suite with both")
    return compared


def _common_questions(played: Sequence[Played]) -> list[tuple[Any, ...]]:
    asked = [[_question(part) for part in one.parts] for one in played]
    common = [question for question in dict.fromkeys(asked[0]) if all(question in other for other in asked[1:])]
    if not common:
        lists = "; ".join(f"{one.name}: {', '.join(part['name'] for part in one.parts)}" for one in played)
        raise UsageError(f"these evaluations have no part in common ({lists})", hint="play the same suite with both")
    return common


def _question(part: Mapping[str, Any]) -> tuple[Any, ...]:
    foreign = part.get("foreign") or {}
    return (*(part.get(key) for key in _QUESTION), foreign.get("family"), foreign.get("preset"))


def _part(question: tuple[Any, ...], played: Sequence[Played]) -> dict[str, Any] | None:
    """One part on the packs that all have; None when no arm or pack is common."""
    parts = [next(part for part in one.parts if _question(part) == question) for one in played]
    arms = [arm for arm in parts[0]["arms"] if all(arm in part["arms"] for part in parts)]
    tables = {arm: [_table(one, part, arm) for one, part in zip(played, parts, strict=True)] for arm in arms}
    packs = _common_packs([table for found in tables.values() for table in found])
    if not packs:
        return None
    first = parts[0]
    positions = first["positions"]
    groups_P = _worlds(first, packs)
    return {
        **{key: first[key] for key in ("name", "family", "preset", "variant", "strategy", "length")},
        "packs": len(packs),
        "played": [part["packs"] for part in parts],
        "positions": positions,
        "notes": _notes(parts),
        "arms": {
            arm: _arm(np.stack([_values(table, packs, positions) for table in found]), positions, groups_P)
            for arm, found in tables.items()
        },
    }


_Table = dict[tuple[int, str], dict[int, list[float]]]


def _table(one: Played, part: Mapping[str, Any], arm: str) -> _Table:
    """Success of each pack by position; of several sampling seeds all."""
    found: _Table = {}
    for row in one.rows:
        if row["part"] == part["name"] and row["arm"] == arm and not row["foreign"] and row["success"] is not None:
            found.setdefault((row["number"], row["pack"]), {}).setdefault(row["position"], []).append(row["success"])
    return found


def _common_packs(tables: Iterable[_Table]) -> list[tuple[int, str]]:
    packs = [set(table) for table in tables]
    return sorted(set.intersection(*packs)) if packs else []


def _worlds(part: Mapping[str, Any], packs: Sequence[tuple[int, str]]) -> list[int] | None:
    """Packs in a row that are of one world count as one; unless it is a single world."""
    numbers = [number // part["length"] for number, _ in packs]
    return numbers if of_result(part).packs_per_world(part["length"]) > 1 and len(set(numbers)) > 1 else None


def _values(table: _Table, packs: Sequence[tuple[int, str]], positions: Sequence[int]) -> Floats:
    values_PS = np.full((len(packs), len(positions)), np.nan)
    for p, pack in enumerate(packs):
        for s, position in enumerate(positions):
            if found := table[pack].get(position):
                values_PS[p, s] = sum(found) / len(found)
    return values_PS


def _arm(values_MPS: Floats, positions: Sequence[int], groups_P: Sequence[int] | None) -> dict[str, Any]:
    return {
        "models": [_model(values_PS, positions, groups_P) for values_PS in values_MPS],
        "differences": [
            {"model": number, "against": 0, **_difference(values_MPS[number] - values_MPS[0], positions, groups_P)}
            for number in range(1, len(values_MPS))
        ],
    }


def _model(values_PS: Floats, positions: Sequence[int], groups_P: Sequence[int] | None) -> dict[str, Any]:
    found: dict[str, Any] = {"success": _curve(shares([values_PS], groups_P), positions)}
    found["mean"] = _only(shares([values_PS.mean(axis=1, keepdims=True)], groups_P))
    if len(positions) > 1:
        found["gain"] = _only(differences([_gain(values_PS)], groups_P))
    return found


def _difference(values_PS: Floats, positions: Sequence[int], groups_P: Sequence[int] | None) -> dict[str, Any]:
    found: dict[str, Any] = {"success": _curve(differences([values_PS], groups_P), positions)}
    found["mean"] = _only(differences([values_PS.mean(axis=1, keepdims=True)], groups_P))
    if len(positions) > 1:
        found["gain"] = _only(differences([_gain(values_PS)], groups_P, 2.0))
    return found


def _gain(values_PS: Floats) -> Floats:
    """Success at the last position less that at the first."""
    found: Floats = values_PS[:, -1:] - values_PS[:, :1]
    return found


def _curve(found: Estimates, positions: Sequence[int]) -> list[dict[str, float]]:
    return [
        {"position": position, **_at(found, s)} for s, position in enumerate(positions) if not np.isnan(found.mean_C[s])
    ]


def _only(found: Estimates) -> dict[str, float] | None:
    return None if np.isnan(found.mean_C[0]) else _at(found, 0)


def _at(found: Estimates, column: int) -> dict[str, float]:
    ends = {"mean": found.mean_C, "low": found.low_C, "high": found.high_C}
    return {name: float(values[column]) for name, values in ends.items()}


def _notes(parts: Sequence[Mapping[str, Any]]) -> list[str]:
    """What differs beside the model."""
    notes = []
    for key in _SAMPLING:
        values = [str(part.get(key)) for part in parts]
        if len(set(values)) > 1:
            notes.append(f"{key.replace('_', ' ')} differs: {', '.join(values)}")
    return notes
