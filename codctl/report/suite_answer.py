"""The answer that a suite gives, in a sentence that follows from its intervals."""

from __future__ import annotations

from codctl.cod.strategies import of_result
from codctl.quantities import percent
from codctl.report.effects import ordinal
from codctl.results import replies
from codctl.results.outcomes import sentences, unread
from codctl.results.statistics import claim_of
from codctl.runs.eval_result import EvalResult, PartResult

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
    """What was measured, for better or worse; parts with the same outcome share a sentence."""
    if replies.is_unplayed(result):
        return "Nothing could be scored."
    if len(result.parts) == 1:
        (part,) = result.parts
        found = [] if unread(part) else [f"{_claim(part)}{_numbers(part)}"]
        return " ".join(f"{line[0].upper()}{line[1:]}." for line in [*found, *sentences(part)])
    claims: dict[str, list[PartResult]] = {}
    for part in result.parts:
        claims.setdefault("Most replies could not be read" if unread(part) else _claim(part), []).append(part)
    return " ".join(f"{claim}: {', '.join(map(_name, parts))}." for claim, parts in claims.items())


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
