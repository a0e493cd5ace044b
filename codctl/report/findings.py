"""What was measured, in sentences that follow from the intervals, and honest when there is nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from codctl.cod.strategies import of_result
from codctl.quantities import percent, points, signed_points
from codctl.results import replies
from codctl.results.outcomes import sentences, unread
from codctl.results.statistics import claim_of
from codctl.runs.eval_result import Curve, Estimate, EvalResult, Measured, PartResult, hundredths

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


def graded_rows(found: Measured) -> list[tuple[str, str, Curve]]:
    """Of a graded family: measure, arm or reference, and curve."""
    if found.graded is None:
        return []
    told = {"mean reward": found.graded.raw_reward, "share": found.graded.share}
    return [(measure, name, hundredths(curve)) for measure, curves in told.items() for name, curve in curves.items()]


def interval(found: Estimate) -> str:
    """The ends in percent."""
    return f"95\N{NO-BREAK SPACE}% interval {points(found.low)} to {points(found.high)}"


def signed_interval(found: Estimate) -> str:
    """The ends in percentage points."""
    return f"95\N{NO-BREAK SPACE}% interval {signed_points(found.low)} to {signed_points(found.high)}"


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


_WITHIN = {
    "learns": "It learns within unknown worlds",
    "improves": "It improves within unknown worlds, but not because of its hints",
    "nothing": "No measurable learning within unknown worlds",
    "worsens": "It gets worse within unknown worlds",
}
_LOOP = {
    "learns": "It solves more from attempt to attempt",
    "improves": "It solves more from attempt to attempt, but not because of its hints",
    "nothing": "No measurable gain from attempt to attempt",
    "worsens": "It solves less from attempt to attempt",
}


def headline(result: EvalResult) -> str:
    """What a suite found, for better or worse."""
    if replies.is_unplayed(result):
        return "Nothing could be scored."
    if len(result.parts) == 1:
        return headline_of_part(result.parts[0])
    return headline_of_parts({_name(part): part for part in result.parts})


def headline_of_part(part: PartResult) -> str:
    """One sentence that states what was measured, and why the model fails where the outcomes explain it."""
    found = [] if unread(part) else [f"{_claim(part)}{_numbers(part)}"]
    return " ".join(f"{line[0].upper()}{line[1:]}." for line in [*found, *sentences(part)])


def headline_of_parts(parts: Mapping[str, PartResult | None]) -> str:
    """What was measured of each part, by its title; parts with the same outcome share a sentence."""
    claims: dict[str, list[str]] = {}
    for title, part in parts.items():
        if part is None:
            claim = "Not evaluated yet"
        else:
            claim = "Most replies could not be read" if unread(part) else _claim(part)
        claims.setdefault(claim, []).append(title)
    return " ".join(f"{claim}: {', '.join(titles)}." for claim, titles in claims.items())


def _claim(part: PartResult) -> str:
    lead = part.own_less_none
    if of_result(part).kind == "disturbed" and lead is not None:
        if lead.low > 0:
            return "Its own hints still help at the end"
        return "Its own hints mislead it at the end" if lead.high < 0 else "No measurable help from its own hints"
    gain = part.gain.get("own")
    if gain is None:
        return "Its own hints were not measured"
    found = claim_of(gain, lead)
    claim = (_LOOP if of_result(part).kind == "loop" else _WITHIN)[found]
    return f"{claim} from the hints that it writes itself" if found == "learns" and lead is not None else claim


def _numbers(part: PartResult) -> str:
    own, none = part.success("own"), part.success("none")
    if not own:
        return ""
    last, first, nth = percent(own[-1].mean), percent(own[0].mean), ordinal(own[-1].position)
    kind = of_result(part).kind
    if kind == "loop":
        return f": {last} solved in the {nth} attempt, {first} in the first"
    if kind == "disturbed" and none:
        return f": {last} of the {nth} tasks solved, {percent(none[-1].mean)} without hints"
    return f": {last} of the {nth} tasks solved, {first} of the first"


def _name(part: PartResult) -> str:
    _, _, world = part.name.partition("/")
    return f"{part.evaluation} in {world}" if world else part.evaluation
