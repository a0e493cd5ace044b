"""The answer that a suite gives, in a sentence that follows from its intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codctl.cod.strategies import of_result
from codctl.quantities import percent
from codctl.report.effects import ordinal
from codctl.results import replies
from codctl.results.outcomes import sentences, unread
from codctl.results.study import last_success
from codctl.results.study_findings import claim

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


def headline(result: Mapping[str, Any]) -> str:
    """What was measured, for better or worse; parts with the same outcome share a sentence."""
    if replies.is_unplayed(result):
        return "Nothing could be scored."
    if len(result["parts"]) == 1:
        (part,) = result["parts"]
        why = sentences(part)
        said = [] if unread(part) else [f"{_claim(part)}{_numbers(part)}"]
        return " ".join(f"{line[0].upper()}{line[1:]}." for line in [*said, *why])
    claims: dict[str, list[Mapping[str, Any]]] = {}
    for part in result["parts"]:
        claims.setdefault("Most replies could not be read" if unread(part) else _claim(part), []).append(part)
    return " ".join(f"{said}: {', '.join(map(_name, parts))}." for said, parts in claims.items())


def _claim(part: Mapping[str, Any]) -> str:
    lead = part.get("own_less_none")
    if of_result(part).kind == "disturbed" and lead is not None:
        if lead["low"] > 0:
            return "Its own hints still help at the end"
        return "Its own hints mislead it at the end" if lead["high"] < 0 else "No measurable help from its own hints"
    found = claim(part)
    if not found:
        return "Its own hints were not measured"
    said = (_LOOP if of_result(part).kind == "loop" else _WITHIN)[found]
    return f"{said} from the hints that it writes itself" if found == "learns" and lead is not None else said


def _numbers(part: Mapping[str, Any]) -> str:
    last = last_success({"arms": {arm: curves["success"] for arm, curves in part["arms"].items()}})
    if last is None:
        return ""
    first = part["arms"]["own"]["success"][0]
    nth = ordinal(last["position"])
    if of_result(part).kind == "loop":
        return f": {percent(last['mean'])} solved in the {nth} attempt, {percent(first['mean'])} in the first"
    if of_result(part).kind == "disturbed" and (none := part["arms"].get("none", {}).get("success")):
        return f": {percent(last['mean'])} of the {nth} tasks solved, {percent(none[-1]['mean'])} without hints"
    return f": {percent(last['mean'])} of the {nth} tasks solved, {percent(first['mean'])} of the first"


def _name(part: Mapping[str, Any]) -> str:
    evaluation, _, world = part["name"].partition("/")
    return f"{evaluation} in {world}" if world else evaluation
