"""What an agent program took while it played, and what a reader has to know of its sessions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from codctl.cod.attempt import Performance
from codctl.quantities import counted, number
from codctl.results.rows import ArmRow
from codctl.runs.eval_result import AgentUse, PartResult

_ENDED = {
    "turn_cap": "used up their calls of the model",
    "timeout": "did not end in time",
    "model_error": "ended with an error of the model",
    "crashed": "crashed",
}


def count(rows: Sequence[ArmRow]) -> AgentUse | None:
    """Sum up the sessions of an evaluation; None where no agent program played."""
    found = [one.row.performance for one in rows if one.row.performance]
    if not found:
        return None
    seconds = [one.wall_s for one in found]
    return AgentUse(
        sessions=len(found),
        wall_s=(round(sum(seconds) / len(found), 3), max(seconds)),
        peak_mb=max(one.peak_mb for one in found),
        model_calls=round(sum(one.model_calls for one in found) / len(found), 2),
        tool_calls=round(sum(one.tool_calls for one in found) / len(found), 2),
        ended=dict(sorted(Counter(one.ended for one in found).items())),
        context=dict(sorted(Counter(one.context for one in found).items())),
    )


_CONTEXT = {
    "whole": "the hints stood whole in its request",
    "cut": "its request had only part of the hints",
    "absent": "its request had no hints",
    "none": "there were no hints",
}


def performance_words(one: Performance) -> str:
    """How an agent program went through an episode, in a line."""
    how = _ENDED | {"ended": "ended by itself", "turn_cap": "used up its calls of the model"}
    calls = f"{counted(one.model_calls, 'call')} of the model, {one.tool_calls} of the world"
    memory = f", {one.peak_mb:.0f} MB" if one.peak_mb else ""
    context = _CONTEXT.get(one.context, one.context)
    return f"{one.agent} {one.version} {how.get(one.ended, one.ended)}: {calls}; {one.wall_s:.1f} s{memory}; {context}"


def sentence(use: AgentUse) -> str:
    """What the sessions took: `48 sessions of 3.1 s (longest 6.9 s), 190 MB; 4.2 calls of the model and …`."""
    mean, longest = use.wall_s
    memory = f", {use.peak_mb:.0f} MB at most" if use.peak_mb else ""
    calls = f"{number(use.model_calls)} calls of the model and {number(use.tool_calls)} of the world in each"
    return f"{counted(use.sessions, 'session')} of {mean:.1f} s (longest {longest:.1f} s){memory}; {calls}"


def warnings(part: PartResult) -> list[str]:
    """Sessions that did not end by themselves, and hints that did not arrive."""
    use = part.agent
    if use is None:
        return []
    found = [
        f"{n} of {counted(use.sessions, 'session')} {words}"
        for end, words in _ENDED.items()
        if (n := use.ended.get(end))
    ]
    with_hints = use.sessions - use.context.get("none", 0)
    for state, words in (("cut", "only in part"), ("absent", "not at all")):
        if n := use.context.get(state):
            found.append(
                f"in {n} of {counted(with_hints, 'session')} with hints they reached the agent's request {words}"
            )
    return found
