"""Why a model fails: outcomes counted by arm and position, and told in words where they explain the result."""

from __future__ import annotations

from dataclasses import replace

import pytest

from codctl.report.story import chapters
from codctl.results import outcomes
from codctl.results.rows import ArmRow
from codctl.runs.eval_result import PartResult, ToldEpisode, Walkthrough
from tests.results import made


def rows(arm: str, ends: dict[str, int], updates: dict[str, int] | None = None, position: int = 0) -> list[ArmRow]:
    """Rows with so many of each outcome, all at one position."""
    solves = [kind for kind, n in ends.items() for _ in range(n)]
    written: list[str | None] = [kind for kind, n in (updates or {}).items() for _ in range(n)]
    written += [None] * (len(solves) - len(written))
    return [
        ArmRow(arm, 0, "p", 0, made.row(outcome=solve, update_outcome=update, position=position))
        for solve, update in zip(solves, written, strict=True)
    ]


def part(*found: list[ArmRow]) -> PartResult:
    every = [row for one in found for row in one]
    arms = {row.arm: {"success": []} for row in every}
    empty = made.part(solve_tokens=96, update_tokens=200, arms=arms)
    return replace(empty, outcomes=tuple(outcomes.count(every)))


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            part(rows("oracle", {"cut": 13, "no_answer": 5}), rows("own", {"cut": 18})),
            [
                "with the truth in its hints it solves 0 of 18 tasks; 18 replies could not be read: "
                "13 were cut off at 96 tokens, 5 had no answer block"
            ],
        ),
        (
            part(rows("own", {"solved": 1, "no_answer": 1})),
            ["with its own hints it solves 1 of 2 tasks; 1 reply could not be read"],
        ),
        (part(rows("own", {"solved": 3, "no_answer": 2})), []),
        (part(rows("oracle", {"solved": 2, "hole": 8})), []),
        (
            part(rows("oracle", {"solved": 0, "hole": 8, "turns": 2})),
            [
                "with the truth in its hints it solves 0 of 10 tasks: it does not play well enough to use hints "
                "(8 tasks: fell into a hole, 2 tasks: turns used up)"
            ],
        ),
        (
            part(rows("own", {"solved": 4}, {"written": 1, "no_hints": 2})),
            [
                "2 of 3 updates could not be read (all of them lacked the lines that mark the hints), "
                "so their hints were not rewritten"
            ],
        ),
        (part(rows("own", {"lost": 4}), rows("oracle", {"lost": 4})), []),
        (part(rows("own", {"solved": 4}), rows("oracle", {"solved": 1, "cut": 3})), []),
        (
            part(rows("own", {"solved": 4}), rows("none", {"solved": 1, "cut": 3})),
            [
                "without hints it solves 1 of 4 tasks; 3 replies could not be read: "
                "all of them were cut off at 96 tokens"
            ],
        ),
        (made.part(), []),
    ],
)
def test_the_reason_is_told_where_it_explains_the_result(found: PartResult, said: list[str]) -> None:
    assert outcomes.sentences(found) == said


def test_counts_by_arm_and_position() -> None:
    second = rows("own", {"hole": 1, "solved": 1}, position=1)
    found = part(rows("own", {"solved": 1, "cut": 1}, {"written": 1, "no_hints": 1}), second)
    solve, update = outcomes.tables(found)
    assert solve.titles == ["solved", "hole", "cut", "solve episodes"]
    assert solve.rows == [("own", None, [2, 1, 1, 4]), ("own", 1, [1, 0, 1, 2]), ("own", 2, [1, 1, 0, 2])]
    assert update.titles == ["written", "no hints", "update episodes"]
    assert update.rows == [("own", None, [1, 1, 2]), ("own", 1, [1, 1, 2])]
    assert ("hole", "fell into a hole") in solve.legend


def test_shares_hold_the_usual_outcomes_and_whatever_else_occurred() -> None:
    found = outcomes.shares([("solve", "hole"), ("solve", "lost"), ("update", "written")], ["hole"])
    assert (found["outcome/solve/hole"], found["outcome/solve/lost"], found["outcome/solve/cut"]) == (0.5, 0.5, 0.0)
    assert (found["outcome/update/written"], "outcome/update/lost" in found) == (1.0, False)


def test_the_walkthrough_says_that_nothing_was_rewritten() -> None:
    episode = ToldEpisode(
        position=0,
        task="t",
        moves=(),
        success=False,
        outcome="cut",
        feedback="No answer.",
        hint_before="old",
        hint_after="old",
        update_reply="I think so.",
        update_problem="expected each hint marker once, found 0 and 0",
    )
    (chapter,) = chapters(Walkthrough("p", "up K", (episode,)))
    assert (chapter.reply, chapter.unread[:8], chapter.is_kept) == ("I think so.", "expected", True)
    assert chapter.feedback == "No answer. The reply ended at its token limit."
    assert chapters(None) == []
