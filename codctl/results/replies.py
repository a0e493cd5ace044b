"""What was wrong with the replies of an evaluation: the faults among its outcomes, and sentences about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from codctl.outcomes import FAULTS, UNPLAYED, FaultKind
from codctl.quantities import counted, is_or_are, was_or_were
from codctl.results.outcomes import endings

_PLACE = ("arm", "position", "episode")
_QUOTES = 2  # of the server's words, for each kind
_TEXTLESS: tuple[FaultKind, ...] = (*UNPLAYED, "empty", "reasoning", "tool_call")
# What to do about a kind; {n} is "3 of 8 replies", {limits} are the token limits that were reached.
_SENTENCES: dict[FaultKind, str] = {
    "cut": "{n} {were} cut at the token limit: raise {limits}{thinking}",
    "empty": "{n} {were} empty: check the chat template and the stop tokens that the model is served with",
    "reasoning": "{n} held reasoning and no answer: raise {limits}, or turn thinking off",
    "refusal": "{n} {were} a refusal{words}",
    "tool_call": "{n} held a tool call instead of text{words}: serve the model without tools",
    "filtered": "{n} {were} withheld by the server's content filter{words}: relax the filter",
    "rejected": "{n} {were} rejected{words}: change the server or the settings",
    "lost": "{n} never came{words}",
}


def count(rows: Sequence[Mapping[str, Any]], outcomes: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Sum up the faults of an evaluation (not of its reference policies).

    Args:
        rows: The rows of its arms.
        outcomes: What `outcomes.count` makes of them.

    Returns:
        `episodes`: Tasks that were to be played.
        `asked`: Replies that were asked for, those of updates included.
        `faults`: How many of them had each kind.
        `by_position`: The same for each arm, position and episode (`solve` or `update`), `of` so many episodes.
        `words`: What the server said most often about each kind.
    """
    points = [
        {**{key: point[key] for key in _PLACE}, "kind": point["outcome"], "count": point["count"], "of": point["of"]}
        for point in sorted(outcomes, key=itemgetter(*_PLACE, "outcome"))
        if point["outcome"] in FAULTS
    ]
    kinds = Counter[str]()
    for point in points:
        kinds[point["kind"]] += point["count"]
    return {
        "episodes": len(rows),
        "asked": sum(row.get("replies", 1) for row in rows),
        "faults": {kind: kinds[kind] for kind in FAULTS if kinds[kind]},
        "by_position": points,
        "words": _words((one.outcome, one.words) for row in rows for one in endings(row)),
    }


def total(counts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The counts of a suite from those of its parts."""
    found = list(counts)
    kinds: Counter[str] = Counter()
    for one in found:
        kinds.update(one["faults"])
    words = ((said["kind"], said["words"]) for one in found for said in one["words"] for _ in range(said["count"]))
    return {
        "episodes": sum(one["episodes"] for one in found),
        "asked": sum(one["asked"] for one in found),
        "faults": {kind: kinds[kind] for kind in FAULTS if kinds[kind]},
        "words": _words(words),
    }


def sentences(part: Mapping[str, Any], prefix: str = "") -> list[str]:
    """What a reader of the numbers must know about the replies; empty when all is well.

    Args:
        part: Of a result.
        prefix: Before the names of the token limits: `sampling.` in a recipe.
    """
    counts = part.get("replies")
    if not counts:
        return []
    found = []
    if failed := part["failed_episodes"]:
        of = counted(counts["episodes"], "episode")
        found.append(f"{failed} of {of} could not be played and {is_or_are(failed)} left out")
    for kind, n in counts["faults"].items():
        said = [f"“{one['words']}”" for one in counts["words"] if one["kind"] == kind]
        words = f" ({', '.join(said[:_QUOTES])})" if said else ""
        of = counted(counts["asked"], "request" if kind == "rejected" else "reply")
        values = {"n": f"{n} of {of}", "were": was_or_were(n), "words": words, "limits": _limits(part, kind, prefix)}
        values["thinking"] = "" if part["rendering"] == "compact" else "; a model that thinks needs thousands"
        found.append(_SENTENCES[kind].format(**values) + _updates(counts, kind))
    return found


def beside(part: Mapping[str, Any], arm: str) -> dict[str, list[dict[str, Any]]]:
    """The faults of an arm's solve episodes, by kind: what stands beside its success."""
    found: dict[str, list[dict[str, Any]]] = {}
    for point in part.get("replies", {}).get("by_position", ()):
        if (point["arm"], point["episode"]) == (arm, "solve"):
            found.setdefault(point["kind"], []).append(point)
    return found


def is_unplayed(result: Mapping[str, Any]) -> bool:
    """Whether a suite brought nothing that could be scored.

    A local model that ends its turn at once has failed by itself. Of a served one nobody knows whether it was the
    server, so that replies without any text are no score either.
    """
    kinds: Sequence[FaultKind] = _TEXTLESS if result["subject"]["kind"] == "endpoint" else UNPLAYED
    parts = [part for part in result["parts"] if "replies" in part]  # earlier versions did not count
    points = [point for part in parts for point in part["replies"]["by_position"]]
    faulty: int = sum(point["count"] for point in points if point["episode"] == "solve" and point["kind"] in kinds)
    all_of: int = sum(part["replies"]["episodes"] for part in parts)
    return 0 < faulty == all_of


def _words(said: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """The commonest words of each kind."""
    often = Counter((kind, words) for kind, words in said if kind in FAULTS and words).most_common()
    found = []
    for kind in FAULTS:
        found += [{"kind": k, "words": words, "count": n} for (k, words), n in often if k == kind][:_QUOTES]
    return found


def _updates(counts: Mapping[str, Any], kind: str) -> str:
    """What it means that replies of this kind were those of updates only."""
    episodes = {point["episode"] for point in counts["by_position"] if point["kind"] == kind}
    return "; all of them were updates, so the hints stayed as they were" if episodes == {"update"} else ""


def _limits(part: Mapping[str, Any], kind: str, prefix: str) -> str:
    """The token limits that replies of this kind had, with their values."""
    episodes = {point["episode"] for point in part["replies"]["by_position"] if point["kind"] == kind}
    keys = [f"{episode}_tokens" for episode in ("solve", "update") if episode in episodes]
    return " and ".join(f"{prefix}{key} ({part[key]})" for key in keys)
