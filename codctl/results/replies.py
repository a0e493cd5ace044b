"""What was wrong with the replies of an evaluation: the faults among its outcomes, and sentences about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from codctl.outcomes import FAULTS, UNPLAYED, FaultKind
from codctl.quantities import counted, is_or_are, was_or_were
from codctl.results.outcomes import endings
from codctl.results.rows import ArmRow
from codctl.runs.eval_result import EvalResult, Fault, OutcomeCount, PartResult, Quote, Replies

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


def count(rows: Sequence[ArmRow], outcomes: Iterable[OutcomeCount]) -> Replies:
    """Sum up the faults of an evaluation (not of its reference policies).

    Args:
        rows: The rows of its arms.
        outcomes: What `outcomes.count` makes of them.
    """
    faults = [
        Fault(one.arm, one.position, one.episode, one.outcome, one.count, one.of)
        for one in sorted(outcomes, key=lambda one: (one.arm, one.position, one.episode, one.outcome))
        if one.outcome in FAULTS
    ]
    kinds = Counter[str]()
    for fault in faults:
        kinds[fault.kind] += fault.count
    return Replies(
        episodes=len(rows),
        asked=sum(one.row.replies for one in rows),
        faults={kind: kinds[kind] for kind in FAULTS if kinds[kind]},
        words=_words((ending.outcome, ending.words) for one in rows for ending in endings(one)),
        by_position=tuple(faults),
    )


def total(counts: Iterable[Replies]) -> Replies:
    """The counts of a suite from those of its parts."""
    found = list(counts)
    kinds: Counter[str] = Counter()
    for one in found:
        kinds.update(one.faults)
    words = ((quote.kind, quote.words) for one in found for quote in one.words for _ in range(quote.count))
    return Replies(
        episodes=sum(one.episodes for one in found),
        asked=sum(one.asked for one in found),
        faults={kind: kinds[kind] for kind in FAULTS if kinds[kind]},
        words=_words(words),
    )


def sentences(part: PartResult, prefix: str = "") -> list[str]:
    """What a reader of the numbers must know about the replies; empty when all is well.

    Args:
        part: Of a result.
        prefix: Before the names of the token limits: `sampling.` in a recipe.
    """
    counts = part.replies
    found = []
    if failed := part.failed_episodes:
        of = counted(counts.episodes, "episode")
        found.append(f"{failed} of {of} could not be played and {is_or_are(failed)} left out")
    for kind, n in counts.faults.items():
        quoted = [f"“{one.words}”" for one in counts.words if one.kind == kind]
        words = f" ({', '.join(quoted[:_QUOTES])})" if quoted else ""
        of = counted(counts.asked, "request" if kind == "rejected" else "reply")
        values = {"n": f"{n} of {of}", "were": was_or_were(n), "words": words, "limits": _limits(part, kind, prefix)}
        values["thinking"] = "" if part.rendering == "compact" else "; a model that thinks needs thousands"
        found.append(_SENTENCES[kind].format(**values) + _updates(counts, kind))
    return found


def beside(part: PartResult, arm: str) -> dict[str, list[Fault]]:
    """The faults of an arm's solve episodes, by kind: what stands beside its success."""
    found: dict[str, list[Fault]] = {}
    for fault in part.replies.by_position:
        if (fault.arm, fault.episode) == (arm, "solve"):
            found.setdefault(fault.kind, []).append(fault)
    return found


def is_unplayed(result: EvalResult) -> bool:
    """Whether a suite brought nothing that could be scored.

    A local model that ends its turn at once has failed by itself. Of a served one it is not known whether it was the
    server, so that replies without any text are no score either.
    """
    kinds: Sequence[FaultKind] = _TEXTLESS if result.subject.kind == "endpoint" else UNPLAYED
    faults = [fault for part in result.parts for fault in part.replies.by_position]
    faulty = sum(fault.count for fault in faults if fault.episode == "solve" and fault.kind in kinds)
    return 0 < faulty == sum(part.replies.episodes for part in result.parts)


def _words(found: Iterable[tuple[str, str]]) -> tuple[Quote, ...]:
    """The commonest words of each kind."""
    often = Counter((kind, words) for kind, words in found if kind in FAULTS and words).most_common()
    quotes: list[Quote] = []
    for kind in FAULTS:
        quotes += [Quote(kind, words, count) for (k, words), count in often if k == kind][:_QUOTES]
    return tuple(quotes)


def _updates(counts: Replies, kind: str) -> str:
    """What it means that replies of this kind were those of updates only."""
    episodes = {fault.episode for fault in counts.by_position if fault.kind == kind}
    return "; all of them were updates, so the hints stayed as they were" if episodes == {"update"} else ""


def _limits(part: PartResult, kind: str, prefix: str) -> str:
    """The token limits that replies of this kind had, with their values."""
    episodes = {fault.episode for fault in part.replies.by_position if fault.kind == kind}
    limits = {"solve": part.solve_tokens, "update": part.update_tokens}
    return " and ".join(f"{prefix}{one}_tokens ({limit})" for one, limit in limits.items() if one in episodes)
