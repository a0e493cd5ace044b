"""What an evaluation found, in numbers with intervals. Shape suffixes: K sampling seeds, P packs, S positions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from codctl.cod.references import CEILINGS, FLOOR, families_of, references
from codctl.cod.strategies import strategy_of
from codctl.config.evalspec import STRATEGY_KEYS, EvalSpec
from codctl.results import agent_use, outcomes, replies
from codctl.results.journal import Journal, Unit
from codctl.results.rows import ArmRow, Row
from codctl.results.statistics import Estimates, Floats, averages, differences, gains, means, scaled, shares
from codctl.results.transcript import CANDIDATES, typical
from codctl.runs.eval_result import (
    ArmResult,
    AttemptCurve,
    AttemptPoint,
    Curve,
    Distractors,
    Estimate,
    Gain,
    Graded,
    Measured,
    PartResult,
    PositionPoint,
    Walkthrough,
)

Value = Callable[[Row], float | None]
_ByArm = Mapping[str, Sequence[ArmRow]]


@dataclass(frozen=True)
class Summary:
    """What an evaluation found.

    Attributes:
        result: The numbers.
        rows: One for each arm, seed, pack and position.
        reference_rows: The same of the reference policies, in place of the arm.
        walkthrough: One pack told in full; None when `own` was not played.
    """

    result: PartResult
    rows: list[ArmRow]
    reference_rows: list[ArmRow]
    walkthrough: Walkthrough | None


def summarise(spec: EvalSpec, journal: Journal) -> Summary:
    """Sum up what the journal holds of an evaluation, in an order that does not depend on when it was played."""
    rows = _rows(spec, journal, list(dict.fromkeys(spec.arms)), spec.seeds)
    reference_rows = _rows(spec, journal, references(families_of(spec)), spec.seeds[:1])
    found = (
        journal.get(Unit(spec.name, "own", spec.seeds[0], number)) for number in range(min(spec.packs, CANDIDATES))
    )
    ended = outcomes.count(rows)
    home = _Positions(spec, rows, reference_rows, distractor=False)
    strategy, distractors = strategy_of(spec), None
    keys = {key: getattr(spec, key) for key, owner in STRATEGY_KEYS.items() if owner == spec.strategy}
    if strategy.wants_another_family:
        numbers = _Positions(spec, rows, reference_rows, distractor=True).measured()
        distractors = Distractors(family=spec.distractor_family or "", preset=spec.distractor_preset, **vars(numbers))
    result = PartResult(
        name=spec.name,
        family=spec.family,
        preset=spec.preset,
        variant=spec.variant,
        strategy=spec.strategy,
        packs=spec.packs,
        length=spec.length,
        rendering=spec.rendering,
        split=spec.split,
        seeds=spec.seeds,
        temperature=spec.temperature,
        solve_tokens=spec.solve_tokens,
        update_tokens=spec.update_tokens,
        suggested_tokens=spec.suggested_tokens,
        answers=spec.answers,
        update=spec.update,
        drift_at=keys.get("drift_at"),
        poison=keys.get("poison"),
        failed_episodes=sum(1 for one in rows if one.row.failed),
        replies=replies.count(rows, ended),
        outcomes=tuple(ended),
        solved_by_attempt=home.solved_by_attempt() if strategy.kind == "loop" else None,
        distractors=distractors,
        agent=agent_use.count(rows),
        **vars(home.measured()),
    )
    return Summary(result, rows, reference_rows, typical([one.walkthrough for one in found if one and one.walkthrough]))


def _rows(spec: EvalSpec, journal: Journal, arms: Sequence[str], seeds: Sequence[int]) -> list[ArmRow]:
    found: list[ArmRow] = []
    for arm in arms:
        for seed in dict.fromkeys(seeds):
            for number in range(spec.packs):
                record = journal.get(Unit(spec.name, arm, seed, number))
                if record is not None:
                    found += [ArmRow(arm, seed, record.pack_id, number, row) for row in record.rows]
    return found


class _Positions:
    """The numbers of the pack's own positions, or of the distractors."""

    def __init__(
        self, spec: EvalSpec, rows: Sequence[ArmRow], reference_rows: Sequence[ArmRow], *, distractor: bool
    ) -> None:
        self.spec = spec
        self._rows = _by_arm(one for one in rows if one.row.distractor == distractor)
        self._references = _by_arm(one for one in reference_rows if one.row.distractor == distractor)
        played = [one for rows in (*self._rows.values(), *self._references.values()) for one in rows]
        self.positions = sorted({one.row.position for one in played})
        # A single world alone has no interval.
        is_shared = strategy_of(spec).packs_per_world(spec.length) > 1 and spec.packs > spec.length
        self._groups_P = np.arange(spec.packs) // spec.length if is_shared else None
        family = families_of(spec)[-1 if distractor else 0]
        self._family = family.in_variant(spec.variant or family.variants[0]) if not distractor else family

    def measured(self) -> Measured:
        """Curves of arms and ceilings, gain and regret."""
        lead = self._own_less_none() if {"own", "none"} <= set(self._rows) else None
        has_gain, has_regret = len(self.positions) > 1, "bayes" in self._references
        gains = {arm: self._gain(rows) for arm, rows in self._rows.items()} if has_gain else {}
        regrets = {arm: self._regret(rows) for arm, rows in self._rows.items()} if has_regret else {}
        ceilings = {name: rows for name, rows in self._references.items() if name in CEILINGS}
        return Measured(
            positions=tuple(self.positions),
            arms={arm: self._arm(rows) for arm, rows in self._rows.items()},
            ceiling_curves={name: self._curve(rows, _success) for name, rows in ceilings.items()},
            # Where nothing could be played at a position, there is no gain.
            gain={arm: gain for arm, gain in gains.items() if not np.isnan(gain.mean)},
            regret={arm: regret for arm, regret in regrets.items() if not np.isnan(regret.mean)},
            own_less_none=None if lead is None or np.isnan(lead.mean) else lead,
            graded=self._graded() if self._family.graded and self._rows else None,
            hint_detail=self._hint_detail(),
        )

    def solved_by_attempt(self) -> dict[str, AttemptCurve]:
        """Share of tasks solved in the first, first two, … attempts, for arms and references."""
        found = {}
        for name, rows in {**self._rows, **self._references}.items():
            if name == FLOOR:
                continue
            points = self._points(shares([mean_of_known(solved_so_far(self._values(rows, _success)))], self._groups_P))
            found[name] = tuple(AttemptPoint(point.mean, point.low, point.high, point.place) for point in points)
        return found

    def _arm(self, rows: Sequence[ArmRow]) -> ArmResult:
        hints = self._curve(rows, lambda row: row.correctness)
        return ArmResult(
            success=self._curve(rows, _success),
            shaped_reward=self._points(means([self._table(rows, _shaped)], self._groups_P, self._shaped_ends)),
            hint_correctness=tuple(point for point in hints if point.position >= 1),
        )

    @property
    def _shaped_ends(self) -> tuple[float, float]:
        least, most = self._family.reward_range
        return min(least, 0.0), most

    def _graded(self) -> Graded:
        """Raw rewards, and their share of what knowing the world gains."""
        ends, groups_P = self._family.reward_range, self._groups_P
        rewards = {name: self._table(rows, _raw) for name, rows in {**self._rows, **self._references}.items()}
        told = {name: values_PS for name, values_PS in rewards.items() if name not in (FLOOR, "informed")}
        rises = {name: gains([values_PS], groups_P) for name, values_PS in told.items()}
        shared = {}
        if FLOOR in rewards and "informed" in rewards:
            floor_PS, ceiling_PS = rewards[FLOOR], rewards["informed"]
            shared = {name: scaled([values_PS], floor_PS, ceiling_PS, groups_P) for name, values_PS in told.items()}
        return Graded(
            ends=ends,
            raw_reward={name: self._points(means([one], groups_P, ends)) for name, one in rewards.items()},
            share={name: curve for name, found in shared.items() if (curve := self._points(found))},
            reward_gain=self._rises(rises, 0),
            share_gain=self._rises(shared, len(self.positions)),
        )

    def _rises(self, found: Mapping[str, Estimates], column: int) -> dict[str, Gain]:
        """Gains by arm, of which one column holds the estimate; none in packs of one task."""
        if len(self.positions) < 2:
            return {}
        ends = self.positions[0], self.positions[-1]
        gained = {name: Gain(*_ends(one, column), *ends) for name, one in found.items()}
        return {name: gain for name, gain in gained.items() if not np.isnan(gain.mean)}

    def _hint_detail(self) -> dict[str, dict[str, Curve]]:
        """Means of the further numbers of hint scores, by arm and name."""
        found: dict[str, dict[str, Curve]] = {}
        for arm, rows in self._rows.items():
            for name in dict.fromkeys(name for one in rows for name in one.row.hint_detail):
                points = self._points(averages([self._table(rows, partial(_detail, name))], self._groups_P))
                found.setdefault(arm, {})[name] = tuple(point for point in points if point.position >= 1)
        return {arm: kept for arm, curves in found.items() if (kept := {n: c for n, c in curves.items() if c})}

    def _gain(self, rows: Sequence[ArmRow]) -> Gain:
        """Success at the last position less that at the first, within the same packs."""
        values_PS = mean_of_known(self._values(rows, _success))
        found = self._difference(values_PS[:, -1] - values_PS[:, 0])
        return Gain(found.mean, found.low, found.high, self.positions[0], self.positions[-1])

    def _own_less_none(self) -> Estimate:
        """Success with own hints less that without any, at the last position of the same packs."""
        own_P, none_P = (mean_of_known(self._values(self._rows[arm], _success))[:, -1] for arm in ("own", "none"))
        return self._difference(own_P - none_P)

    def _regret(self, rows: Sequence[ArmRow]) -> Estimate:
        """Tasks of a pack that the bayes reference solves more than the arm does."""
        arm_PS = mean_of_known(self._values(rows, _success))
        bayes_PS = mean_of_known(self._values(self._references["bayes"], _success))
        return self._difference(np.sum(bayes_PS - arm_PS, axis=1), reach=len(self.positions))

    def _values(self, rows: Sequence[ArmRow], value: Value) -> Floats:
        """One measure as seeds × packs × positions; NaN where there is none."""
        at = {position: column for column, position in enumerate(self.positions)}
        seeds = {seed: layer for layer, seed in enumerate(dict.fromkeys(one.seed for one in rows))}
        values_KPS = np.full((len(seeds), self.spec.packs, len(self.positions)), np.nan)
        for one in rows:
            found = value(one.row)
            if found is not None:
                values_KPS[seeds[one.seed], one.number, at[one.row.position]] = found
        return values_KPS

    def _table(self, rows: Sequence[ArmRow], value: Value) -> Floats:
        return mean_of_known(self._values(rows, value))

    def _curve(self, rows: Sequence[ArmRow], value: Value) -> Curve:
        return self._points(shares([self._table(rows, value)], self._groups_P))

    def _points(self, found: Estimates) -> Curve:
        points = (PositionPoint(*_ends(found, s), position) for s, position in enumerate(self.positions))
        return tuple(point for point in points if not np.isnan(point.mean))

    def _difference(self, values_P: Floats, reach: float = 1.0) -> Estimate:
        return Estimate(*_ends(differences([values_P[:, None]], self._groups_P, reach), 0))


def _ends(found: Estimates, column: int) -> tuple[float, float, float]:
    return float(found.mean_C[column]), float(found.low_C[column]), float(found.high_C[column])


def solved_so_far(success_KPS: Floats) -> Floats:
    """1 from the first success on. Without one, unknown (NaN) from the first attempt on that could not be played."""
    solved_KPS = np.maximum.accumulate(np.nan_to_num(success_KPS), axis=-1)
    unknown_KPS = np.maximum.accumulate(np.isnan(success_KPS), axis=-1)
    found: Floats = np.where((solved_KPS == 0) & unknown_KPS, np.nan, solved_KPS)
    return found


def mean_of_known(values_KPS: Floats) -> Floats:
    """Mean over the sampling seeds that are known: they are averaged within a pack."""
    known_KPS = ~np.isnan(values_KPS)
    sums_PS, counts_PS = np.where(known_KPS, values_KPS, 0.0).sum(axis=0), known_KPS.sum(axis=0)
    found: Floats = np.divide(sums_PS, counts_PS, out=np.full(sums_PS.shape, np.nan), where=counts_PS > 0)
    return found


def _success(row: Row) -> float | None:
    return row.success


def _raw(row: Row) -> float | None:
    return row.raw_reward


def _detail(name: str, row: Row) -> float | None:
    return row.hint_detail.get(name)


def _shaped(row: Row) -> float | None:
    return row.shaped_reward


def _by_arm(rows: Iterable[ArmRow]) -> _ByArm:
    found: dict[str, list[ArmRow]] = {}
    for one in rows:
        found.setdefault(one.arm, []).append(one)
    return found
