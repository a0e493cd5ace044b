"""The measured effect in numbers and in one sentence: paired over packs, and honest when there is none."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from codctl.quantities import percent, points, signed_points
from codctl.report.source import EvaluationFolder
from codctl.results.statistics import Estimates, Floats, differences, shares

_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval, as shares."""

    mean: float
    low: float
    high: float

    @property
    def is_positive(self) -> bool:
        return self.low > 0

    def share(self) -> str:
        return percent(self.mean)

    def interval(self) -> str:
        return f"95\N{NO-BREAK SPACE}% interval {points(self.low)} to {points(self.high)}"

    def signed_interval(self) -> str:
        return f"95\N{NO-BREAK SPACE}% interval {signed_points(self.low)} to {signed_points(self.high)}"

    def points(self) -> str:
        return f"{signed_points(self.mean)} points ({self.signed_interval()})"


@dataclass(frozen=True)
class Effect:
    """What an evaluation says about learning on the job.

    Attributes:
        positions: Pack length.
        first: Success at the first position with own hints.
        last: Success at the last position with own hints.
        gain: Last minus first within the same packs.
        from_hints: Own minus none at the last position of the same packs; None when `none` was not played.
        none_gain: Last minus first without hints.
        ceiling: Success of the bayes reference at the last position.
    """

    positions: int
    first: Estimate
    last: Estimate
    gain: Estimate
    from_hints: Estimate | None
    none_gain: Estimate | None
    ceiling: float | None

    @property
    def share_of_ceiling(self) -> float | None:
        return self.last.mean / self.ceiling if self.ceiling else None


def effect_of(evaluation: EvaluationFolder) -> Effect | None:
    """Measure it from the rows; None when the arm `own` was not played."""
    own = success_by_pack(evaluation, "own")
    if own is None or own.shape[1] < 2:
        return None
    none = success_by_pack(evaluation, "none")
    bayes = evaluation.result.get("ceilings", {}).get("bayes")
    return Effect(
        positions=own.shape[1],
        first=_share(own[:, 0]),
        last=_share(own[:, -1]),
        gain=_difference(own[:, -1] - own[:, 0]),
        from_hints=None if none is None else _difference(own[:, -1] - none[:, -1]),
        none_gain=None if none is None else _difference(none[:, -1] - none[:, 0]),
        ceiling=bayes[-1] if bayes else None,
    )


def success_by_pack(evaluation: EvaluationFolder, arm: str) -> Floats | None:
    """Raw success, packs × positions, sampling seeds averaged within a pack; NaN where an episode failed."""
    rows = [row for row in evaluation.rows if row["arm"] == arm]
    if not rows:
        return None
    packs = sorted({row["pack"] for row in evaluation.rows})
    at = {pack: i for i, pack in enumerate(packs)}
    shape = (len(packs), evaluation.result["length"])
    sums, counts = np.zeros(shape), np.zeros(shape)
    for row in rows:
        if row["success"] is not None:
            sums[at[row["pack"]], row["position"]] += row["success"]
            counts[at[row["pack"]], row["position"]] += 1
    return np.divide(sums, counts, out=np.full(shape, np.nan), where=counts > 0)


def headline(after: Effect) -> str:
    """One sentence that states what was measured, for better or worse."""
    numbers = (
        f"{after.last.share()} of the {ordinal(after.positions - 1)} tasks solved, {after.first.share()} of the first"
    )
    return f"{_claim(after)}: {numbers}."


def headline_of_families(found: Mapping[str, Effect | None], unread: Collection[str] = ()) -> str:
    """What was measured of each family, by its title; families of the same outcome share a sentence.

    Args:
        found: The effects.
        unread: Families on which most replies could not be read.
    """
    claims: dict[str, list[str]] = {}
    for title, effect in found.items():
        claim = _claim(effect) if effect else "Not evaluated yet"
        claims.setdefault("Most replies could not be read" if title in unread else claim, []).append(title)
    return " ".join(f"{claim}: {', '.join(titles)}." for claim, titles in claims.items())


def _claim(after: Effect) -> str:
    if not after.gain.is_positive:
        return "No measurable learning within unknown worlds"
    if after.from_hints is None:
        return "It learns within unknown worlds"
    if after.from_hints.is_positive:
        return "It learns within unknown worlds from the hints that it writes itself"
    return "It improves within unknown worlds, but not because of its hints"


def details(after: Effect, before: Effect | None) -> str:
    """The sentence's evidence, with intervals."""
    last = ordinal(after.positions - 1)
    text = f"From the first to the {last} task of the same pack: {after.gain.points()}."
    if after.from_hints is not None:
        text += f" The {last} task with its own hints against no hints: {after.from_hints.points()}."
    if after.none_gain is not None:
        text += f" Without hints, from the first to the {last}: {after.none_gain.points()}."
    if before is not None:
        text += f" Before CoD-Train it solved {before.last.share()} of the {last} tasks"
        text += f" and {before.first.share()} of the first."
    return text


def ordinal(position: int) -> str:
    return _ORDINALS[position] if position < len(_ORDINALS) else f"{position + 1}th"


def _share(values_P: Floats) -> Estimate:
    return _only(shares([values_P[:, None]]))


def _difference(values_P: Floats) -> Estimate:
    return _only(differences([values_P[:, None]]))


def _only(found: Estimates) -> Estimate:
    return Estimate(float(found.mean_C[0]), float(found.low_C[0]), float(found.high_C[0]))
