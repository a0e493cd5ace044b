"""What an evaluation found, in numbers with intervals. Shape suffixes: K sampling seeds, P packs, S positions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from codctl.cod.references import references
from codctl.cod.strategies import strategy_of
from codctl.config.evalspec import EvalSpec
from codctl.envs.registry import get_family
from codctl.results import outcomes, replies
from codctl.results.journal import Journal, Record, Unit
from codctl.results.statistics import Estimates, Floats, differences, shares
from codctl.results.walkthrough import CANDIDATES, typical

Curve = list[dict[str, float]]
Value = Callable[[dict[str, Any]], float | None]


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        result: The summary.
        rows: One for each arm, seed, pack and position.
        reference_rows: The same of the reference policies, in place of the arm.
        walkthrough: One pack told in full; empty when `own` was not played.
    """

    result: dict[str, Any]
    rows: list[dict[str, Any]]
    reference_rows: list[dict[str, Any]]
    walkthrough: dict[str, Any]


def summarise(spec: EvalSpec, journal: Journal) -> Evaluation:
    """Sum up what the journal holds of an evaluation, in an order that does not depend on when it was played."""
    names = [spec.family, *([spec.foreign_family] if spec.foreign_family else [])]
    arms = list(dict.fromkeys(spec.arms))
    rows = _rows(spec, journal, arms, spec.seeds)
    reference_rows = _rows(spec, journal, references(map(get_family, names)), spec.seeds[:1])
    told = (journal.get(Unit(spec.name, "own", spec.seeds[0], number)) for number in range(min(spec.packs, CANDIDATES)))
    ended = outcomes.count(rows)
    home = _Positions(spec, rows, reference_rows, foreign=False)
    result = {
        **_what(spec),
        **home.summary(),
        "failed_episodes": sum(1 for row in rows if row["failed"]),
        "replies": replies.count(rows, ended),
        "outcomes": ended,
    }
    if strategy_of(spec).kind == "loop":
        result["solved_by_attempt"] = home.solved_by_attempt()
    if strategy_of(spec).wants_another_family:
        foreign = _Positions(spec, rows, reference_rows, foreign=True)
        result["foreign"] = {"family": spec.foreign_family, "preset": spec.foreign_preset, **foreign.summary()}
    return Evaluation(result, rows, reference_rows, typical([one.told for one in told if one and one.told]))


def _what(spec: EvalSpec) -> dict[str, Any]:
    """What was played."""
    keys = ["name", "family", "preset", "variant", "strategy", "rendering", "split", "packs", "length"]
    keys += {"drift": ["drift_at"], "poison": ["poison"]}.get(spec.strategy, [])
    keys += ["temperature", "solve_tokens", "update_tokens"]
    values = spec.identity()
    keys += [key for key in ("suggested_tokens", "answers") if key in values]
    return {**{key: values[key] for key in keys}, "seeds": list(spec.seeds)}


def _rows(spec: EvalSpec, journal: Journal, arms: Sequence[str], seeds: Sequence[int]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for arm in arms:
        for seed in dict.fromkeys(seeds):
            for number in range(spec.packs):
                record = journal.get(Unit(spec.name, arm, seed, number))
                if record is not None:
                    found += [_row(record, row) for row in record.rows]
    return found


def _row(record: Record, row: dict[str, Any]) -> dict[str, Any]:
    unit = record.unit
    return {"arm": unit.arm, "seed": unit.seed, "pack": record.pack_id, "number": unit.pack, **row}


def correctness(row: dict[str, Any]) -> float | None:
    """Share of the knowable facts that the hint in force stated; None when nothing was knowable."""
    return row["hint_knowable_right"] / row["hint_knowable"] if row["hint_knowable"] else None


class _Positions:
    """The numbers of the pack's own positions, or of the foreign ones."""

    def __init__(
        self,
        spec: EvalSpec,
        rows: Sequence[dict[str, Any]],
        reference_rows: Sequence[dict[str, Any]],
        *,
        foreign: bool,
    ) -> None:
        self.spec = spec
        self._rows = _by_arm(row for row in rows if row["foreign"] == foreign)
        self._references = _by_arm(row for row in reference_rows if row["foreign"] == foreign)
        played = [row for rows in (*self._rows.values(), *self._references.values()) for row in rows]
        self.positions = sorted({row["position"] for row in played})
        # A single world alone has no interval.
        is_shared = strategy_of(spec).packs_per_world(spec.length) > 1 and spec.packs > spec.length
        self._groups_P = np.arange(spec.packs) // spec.length if is_shared else None

    def summary(self) -> dict[str, Any]:
        """Curves of arms and ceilings, gain and regret."""
        curves = {name: self._curve(self._values(rows, _success)) for name, rows in self._references.items()}
        found: dict[str, Any] = {
            "positions": self.positions,
            "ceilings": {name: [point["mean"] for point in curve] for name, curve in curves.items()},
            "ceiling_curves": curves,
            "arms": {arm: self._arm(rows) for arm, rows in self._rows.items()},
        }
        if len(self.positions) > 1:
            found["gain"] = self._known(self._gain)
        if {"own", "none"} <= set(self._rows) and not np.isnan((lead := self._own_less_none())["mean"]):
            found["own_less_none"] = lead
        if "bayes" in self._references:
            found["regret"] = self._known(self._regret)
        return found

    def _known(self, measure: Callable[[Sequence[dict[str, Any]]], dict[str, float]]) -> dict[str, dict[str, float]]:
        """A measure of every arm that has one: where nothing could be played at a position, there is no gain."""
        found = {arm: measure(rows) for arm, rows in self._rows.items()}
        return {arm: estimate for arm, estimate in found.items() if not np.isnan(estimate["mean"])}

    def solved_by_attempt(self) -> dict[str, Curve]:
        """Share of tasks solved in the first, first two, … attempts, for arms and references."""
        found = {}
        for name, rows in {**self._rows, **self._references}.items():
            points = self._points(_mean_of_seeds(solved_so_far(self._values(rows, _success))))
            found[name] = [{"attempt": int(p.pop("position")) + 1, **p} for p in points]
        return found

    def _arm(self, rows: Sequence[dict[str, Any]]) -> dict[str, Curve]:
        hints = self._curve(self._values(rows, correctness))
        return {
            "success": self._curve(self._values(rows, _success)),
            "shaped_reward": self._curve(self._values(rows, lambda row: row["shaped_reward"])),
            "hint_correctness": [point for point in hints if point["position"] >= 1],
        }

    def _gain(self, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
        """Success at the last position less that at the first, within the same packs."""
        values_PS = _mean_of_seeds(self._values(rows, _success))
        first, last = self.positions[0], self.positions[-1]
        return {"from": first, "to": last, **self._difference(values_PS[:, -1] - values_PS[:, 0])}

    def _own_less_none(self) -> dict[str, float]:
        """Success with own hints less that without any, at the last position of the same packs."""
        own_P, none_P = (_mean_of_seeds(self._values(self._rows[arm], _success))[:, -1] for arm in ("own", "none"))
        return self._difference(own_P - none_P)

    def _regret(self, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
        """Tasks of a pack that the bayes reference solves more than the arm does."""
        arm_PS = _mean_of_seeds(self._values(rows, _success))
        bayes_PS = _mean_of_seeds(self._values(self._references["bayes"], _success))
        return self._difference(np.sum(bayes_PS - arm_PS, axis=1), reach=len(self.positions))

    def _values(self, rows: Sequence[dict[str, Any]], value: Value) -> Floats:
        """One measure as seeds × packs × positions; NaN where there is none."""
        at = {position: column for column, position in enumerate(self.positions)}
        seeds = {seed: layer for layer, seed in enumerate(dict.fromkeys(row["seed"] for row in rows))}
        values_KPS = np.full((len(seeds), self.spec.packs, len(self.positions)), np.nan)
        for row in rows:
            found = value(row)
            if found is not None:
                values_KPS[seeds[row["seed"]], row["number"], at[row["position"]]] = found
        return values_KPS

    def _curve(self, values_KPS: Floats) -> Curve:
        return self._points(_mean_of_seeds(values_KPS))

    def _points(self, values_PS: Floats) -> Curve:
        found = shares([values_PS], self._groups_P)
        return [
            {"position": position, **_estimate(found, s)}
            for s, position in enumerate(self.positions)
            if not np.isnan(found.mean_C[s])
        ]

    def _difference(self, values_P: Floats, reach: float = 1.0) -> dict[str, float]:
        return _estimate(differences([values_P[:, None]], self._groups_P, reach), 0)


def _estimate(found: Estimates, column: int) -> dict[str, float]:
    return {
        "mean": float(found.mean_C[column]),
        "low": float(found.low_C[column]),
        "high": float(found.high_C[column]),
    }


def solved_so_far(success_KPS: Floats) -> Floats:
    """1 from the first success on. Without one, unknown (NaN) from the first attempt on that could not be played."""
    solved_KPS = np.maximum.accumulate(np.nan_to_num(success_KPS), axis=-1)
    unknown_KPS = np.maximum.accumulate(np.isnan(success_KPS), axis=-1)
    found: Floats = np.where((solved_KPS == 0) & unknown_KPS, np.nan, solved_KPS)
    return found


def _success(row: dict[str, Any]) -> float | None:
    found: float | None = row["success"]
    return found


def _by_arm(rows: Any) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["arm"], []).append(row)
    return found


def _mean_of_seeds(values_KPS: Floats) -> Floats:
    """Sampling seeds are averaged within a pack."""
    known_KPS = ~np.isnan(values_KPS)
    sums_PS, counts_PS = np.where(known_KPS, values_KPS, 0.0).sum(axis=0), known_KPS.sum(axis=0)
    found: Floats = np.divide(sums_PS, counts_PS, out=np.full(sums_PS.shape, np.nan), where=counts_PS > 0)
    return found
