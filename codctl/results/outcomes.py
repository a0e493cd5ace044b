"""How episodes ended: counted by arm and position, in tables and in a sentence that says why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from codctl.envs.base import UpdateRule
from codctl.envs.registry import families
from codctl.outcomes import (
    ANSWER_PROBLEMS,
    EDIT_PROBLEMS,
    HINT_PROBLEMS,
    PLAYED,
    SOLVE_OUTCOMES,
    UNPLAYED,
    UNREADABLE,
    UPDATE_OUTCOMES,
    WRITTEN,
)
from codctl.quantities import counted, position, share
from codctl.results.rows import ArmRow
from codctl.runs.eval_result import OutcomeCount, PartResult

_MOST = 0.5  # share of unreadable replies from which on other numbers say little
_HARDLY = 0.1  # success with the truth in the hints: less means that the model cannot play
_KINDS = 3  # named in a sentence
# What replies did, in the plural, where the closed lists speak of one reply; {limit} is the token limit.
_MANY = {
    "cut": "were cut off at {limit} tokens",
    "empty": "were empty",
    "reasoning": "held reasoning only",
    "refusal": "refused",
    "tool_call": "called a tool",
    "text_around": "had text around the answer block",
    "no_action": "named no action",
    "no_hints": "lacked the lines that mark the hints",
    "unreadable_edit": "had edits that cannot be read",
    "unknown_hint": "edited hints that do not exist",
    "doubled_edit": "edited a hint twice",
}
_USUAL = ("cut", "empty")  # faults that a model has without a server
Episode = Literal["solve", "update"]
EPISODES: tuple[Episode, ...] = ("solve", "update")


class TokenLimits(Protocol):
    """What replies may have: a recipe's sampling, or the part of a result."""

    @property
    def solve_tokens(self) -> int: ...

    @property
    def update_tokens(self) -> int: ...


class Ending(NamedTuple):
    """How an episode ended; `words` are what the server said of a faulty reply."""

    arm: str
    episode: Episode
    position: int
    outcome: str
    words: str


def endings(one: ArmRow) -> list[Ending]:
    """The solve episode of a row, and the update after it."""
    row = one.row
    found = [Ending(one.arm, "solve", row.position, row.outcome, row.words)]
    if row.update_outcome:
        found.append(Ending(one.arm, "update", row.position, row.update_outcome, row.update_words))
    return found


def count(rows: Sequence[ArmRow]) -> list[OutcomeCount]:
    """Count the outcomes in the rows of an evaluation by arm, episode, position and outcome."""
    found = Counter(ending[:4] for row in rows for ending in endings(row))
    of = Counter[tuple[str, Episode, int]]()
    for (arm, episode, place, _), n in found.items():
        of[arm, episode, place] += n
    return [
        OutcomeCount(arm, episode, place, outcome, n, of[arm, episode, place])
        for (arm, episode, place, outcome), n in sorted(found.items())
    ]


def shares(
    endings: Sequence[tuple[str, str]], losses: Iterable[str], update: UpdateRule = "rewrite"
) -> dict[str, float]:
    """Shares of the outcomes as metrics: `outcome/solve/…` and `outcome/update/…`.

    Args:
        endings: Kind and outcome of each episode.
        losses: What the worlds name. These and the model's usual outcomes are always there, 0 where none occurred.
        update: How hints are updated.
    """
    edits = ["unchanged", *EDIT_PROBLEMS] if update == "delta" else []
    usual = {
        "solve": [*PLAYED, *losses, *ANSWER_PROBLEMS, *_USUAL],
        "update": ["written", *HINT_PROBLEMS, *edits, *_USUAL],
    }
    found: dict[str, float] = {}
    for episode, outcomes in usual.items():
        counts = Counter(outcome for kind, outcome in endings if kind == episode)
        for outcome in dict.fromkeys([*outcomes, *sorted(counts)]):
            found[f"outcome/{episode}/{outcome}"] = counts[outcome] / max(counts.total(), 1)
    return found


@dataclass(frozen=True)
class Table:
    """Counts of outcomes: a row for each arm, or for each of its positions, and a column for each outcome.

    Attributes:
        episode: `solve` or `update`.
        columns: Outcomes that occurred.
        rows: Arm, position (None for all of them) and counts; the last of these are of how many episodes.
        legend: What the columns mean.
    """

    episode: Episode
    columns: list[str]
    rows: list[tuple[str, int | None, list[int]]]
    legend: list[tuple[str, str]]

    @property
    def titles(self) -> list[str]:
        return [*(column.replace("_", " ") for column in self.columns), f"{self.episode} episodes"]


def table(part: PartResult, episode: Episode, *, by_position: bool = False) -> Table | None:
    """The outcomes of an evaluation's arms; None where nothing was counted."""
    points = [point for point in part.outcomes if point.episode == episode]
    if not points:
        return None
    kinds = {point.outcome for point in points}
    columns = sorted(kinds, key=_order(part, episode).index)
    rows = []
    for arm in [arm for arm in part.arms if any(point.arm == arm for point in points)]:
        own = [point for point in points if point.arm == arm]
        places = sorted({point.position for point in own}) if by_position else []
        for place in [None, *places]:
            counts = _totals(point for point in own if place in (None, point.position))
            rows.append(
                (arm, place if place is None else position(place), [*map(counts.__getitem__, columns), counts.total()])
            )
    words = labels(part)
    return Table(episode, columns, rows, [(kind.replace("_", " "), words.get(kind, "")) for kind in columns])


def tables(part: PartResult) -> list[Table]:
    """Those of solve and of update episodes, by position."""
    return [found for episode in EPISODES if (found := table(part, episode, by_position=True))]


def unread(part: PartResult) -> str:
    """What is to be said instead of any effect, where most replies could not be read; else empty."""
    arms = part.arms
    # Effects are those of the own hints, against none at all.
    compared = [arm for arm in arms if arm in ("own", "none")] or list(arms)
    bad = [arm for arm in compared if _is_unread(_of(part, arm, "solve"))]
    if not bad:
        return ""
    arm = "oracle" if _is_unread(_of(part, "oracle", "solve")) else bad[0]  # the truth is the best that hints can be
    counts = _of(part, arm, "solve")
    n, said = unreadable(counts).total(), did(part, "solve", counts)
    return f"{_solves(arm, counts)}; {counted(n, 'reply')} could not be read{f': {said}' if said else ''}"


def sentences(part: PartResult) -> list[str]:
    """Why the model fails, where the outcomes explain it; empty where they do not."""
    if said := unread(part):
        return [said]
    found = []
    oracle = _of(part, "oracle", "solve")
    if oracle and oracle["solved"] < _HARDLY * oracle.total():
        found.append(f"{_solves('oracle', oracle)}: it does not play well enough to use hints ({_lost(part, oracle)})")
    updates = _of(part, "own", "update")
    if _is_unread(updates):
        n, said = unreadable(updates).total(), did(part, "update", updates)
        why = f" ({said})" if said else ""
        found.append(
            f"{n} of {counted(updates.total(), 'update')} could not be read{why}, so their hints were not rewritten"
        )
    return found


def labels(part: PartResult) -> dict[str, str]:
    """The outcomes of an evaluation in words."""
    return {**SOLVE_OUTCOMES, **UPDATE_OUTCOMES, **_losses(part), **UNREADABLE}


def _order(part: PartResult, episode: Episode) -> list[str]:
    """All outcomes, from the best on."""
    known = [*("solved", *WRITTEN), *_losses(part), *SOLVE_OUTCOMES, *UPDATE_OUTCOMES, *UNREADABLE]
    strange = [point.outcome for point in part.outcomes if point.episode == episode]
    return list(dict.fromkeys([*known, *strange]))


def _losses(part: PartResult) -> dict[str, str]:
    known, names = families(), [part.family, *([part.distractors.family] if part.distractors else [])]
    return {kind: words for name in names if name in known for kind, words in known[name].losses.items()}


def _of(part: PartResult, arm: str, episode: Episode) -> Counter[str]:
    """The outcomes of the episodes that were played."""
    points = [point for point in part.outcomes if point.outcome not in UNPLAYED]
    return _totals(point for point in points if (point.arm, point.episode) == (arm, episode))


def _is_unread(counts: Counter[str]) -> bool:
    return 0 < counts.total() <= unreadable(counts).total() / _MOST


def _totals(points: Iterable[OutcomeCount]) -> Counter[str]:
    found: Counter[str] = Counter()
    for point in points:
        found[point.outcome] += point.count
    return found


def unreadable(counts: Counter[str]) -> Counter[str]:
    """Of these outcomes those that are due to a reply that could not be read."""
    return Counter({kind: n for kind, n in counts.items() if kind in UNREADABLE})


def _solves(arm: str, counts: Counter[str]) -> str:
    how = {"oracle": "with the truth in its hints ", "own": "with its own hints ", "none": "without hints "}
    return f"{how.get(arm, '')}it solves {counts['solved']} of {counted(counts.total(), 'task')}"


def did(limits: TokenLimits, episode: Episode, counts: Counter[str]) -> str:
    """What the commonest of the replies did that could not be read.

    Args:
        limits: Of replies.
        episode: `solve` or `update`.
        counts: Outcomes.
    """
    kinds = unreadable(counts)
    named = kinds.most_common(_KINDS)
    limit = limits.solve_tokens if episode == "solve" else limits.update_tokens
    found = [(n, _MANY.get(kind, UNREADABLE[kind]).format(limit=limit)) for kind, n in named]
    if len(kinds) == 1:
        return "".join(f"all of them {words}" for _, words in found) if kinds.total() > 1 else ""
    return ", ".join(f"{n} {words.replace('were ', 'was ', 1) if n == 1 else words}" for n, words in found)


def _lost(part: PartResult, counts: Counter[str]) -> str:
    words = labels(part)
    ended = [(kind, n) for kind, n in counts.most_common() if kind != "solved"][:_KINDS]
    return ", ".join(f"{counted(n, 'task')}: {words.get(kind, kind)}" for kind, n in ended)


LOOK = "look"  # the phase in metrics.jsonl of a look at the model before CoD-Train
_LOOKED_AT: dict[Episode, str] = {"solve": "solve episodes", "update": "updates"}


def look_sentence(metrics: Mapping[str, float], limits: TokenLimits) -> str:
    """How many replies could be read, what the others did, and the success by position.

    Args:
        metrics: As the look has logged them.
        limits: Of replies.
    """
    counts = {episode: _look_counts(metrics, episode) for episode in _LOOKED_AT}
    read, why = [], []
    for episode, words in _LOOKED_AT.items():
        if total := counts[episode].total():
            bad = unreadable(counts[episode])
            read.append(f"{total - bad.total()} of {total} {words}")
            if bad:
                why.append(f"of the {words}, {did(limits, episode, counts[episode])}")
    success = [metrics[name] for place in range(len(metrics)) if (name := f"success/position_{place}") in metrics]
    reasons = f" ({'; '.join(why)})" if why else ""
    return f"{' and '.join(read)} could be read{reasons}; success {' '.join(map(share, success))}"


def worst_look(metrics: Mapping[str, float]) -> tuple[str, float]:
    """The kind of episode of which the largest share could not be read, and that share."""
    shares = {}
    for episode, words in _LOOKED_AT.items():
        counts = _look_counts(metrics, episode)
        shares[words] = unreadable(counts).total() / max(counts.total(), 1)
    words = max(shares, key=lambda one: shares[one])
    return words, shares[words]


def _look_counts(metrics: Mapping[str, float], episode: str) -> Counter[str]:
    prefix, of = f"outcome/{episode}/", metrics.get(f"episodes/{episode}", 0)
    found = {name.removeprefix(prefix): round(of * value) for name, value in metrics.items() if name.startswith(prefix)}
    return Counter({outcome: n for outcome, n in found.items() if n})
