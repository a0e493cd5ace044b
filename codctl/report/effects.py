"""The measured effect in numbers and in one sentence: paired over packs, and honest when there is none."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from codctl.quantities import percent, points, signed_points
from codctl.runs.eval_result import Estimate, PartResult

_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


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


def effect_of(part: PartResult) -> Effect | None:
    """None when the arm `own` was not played at the first and the last position."""
    own, gain, bayes = part.success("own"), part.gain.get("own"), part.ceiling_curves.get("bayes")
    if gain is None or not own:
        return None
    return Effect(
        positions=part.length,
        first=own[0],
        last=own[-1],
        gain=gain,
        from_hints=part.own_less_none,
        none_gain=part.gain.get("none"),
        ceiling=bayes[-1].mean if bayes else None,
    )


def interval(found: Estimate) -> str:
    """The ends in percent."""
    return f"95\N{NO-BREAK SPACE}% interval {points(found.low)} to {points(found.high)}"


def signed_interval(found: Estimate) -> str:
    """The ends in percentage points."""
    return f"95\N{NO-BREAK SPACE}% interval {signed_points(found.low)} to {signed_points(found.high)}"


def headline(after: Effect) -> str:
    """One sentence that states what was measured, for better or worse."""
    last, first = percent(after.last.mean), percent(after.first.mean)
    return f"{_claim(after)}: {last} of the {ordinal(after.positions - 1)} tasks solved, {first} of the first."


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
    if after.gain.low <= 0:
        return "No measurable learning within unknown worlds"
    if after.from_hints is None:
        return "It learns within unknown worlds"
    if after.from_hints.low > 0:
        return "It learns within unknown worlds from the hints that it writes itself"
    return "It improves within unknown worlds, but not because of its hints"


def details(after: Effect, before: Effect | None) -> str:
    """The sentence's evidence, with intervals."""
    last = ordinal(after.positions - 1)
    text = f"From the first to the {last} task of the same pack: {_in_points(after.gain)}."
    if after.from_hints is not None:
        text += f" The {last} task with its own hints against no hints: {_in_points(after.from_hints)}."
    if after.none_gain is not None:
        text += f" Without hints, from the first to the {last}: {_in_points(after.none_gain)}."
    if before is not None:
        text += f" Before CoD-Train it solved {percent(before.last.mean)} of the {last} tasks"
        text += f" and {percent(before.first.mean)} of the first."
    return text


def ordinal(position: int) -> str:
    return _ORDINALS[position] if position < len(_ORDINALS) else f"{position + 1}th"


def _in_points(found: Estimate) -> str:
    return f"{signed_points(found.mean)} points ({signed_interval(found)})"
