"""How an episode ends: one closed list for solve episodes and one for updates.

A solve episode is solved, lost for one of its world's own reasons (`Family.losses` names them) or for the general ones
below, or ended by a reply that had a problem or a fault. An update is written, or its reply had a problem or a fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

FaultKind = Literal["cut", "empty", "reasoning", "refusal", "tool_call", "filtered", "rejected", "lost"]
FAULTS: dict[FaultKind, str] = {
    "cut": "ended at its token limit",
    "empty": "held no text",
    "reasoning": "held reasoning and no answer",
    "refusal": "was the model's refusal",
    "tool_call": "was a tool call instead of text",
    "filtered": "was withheld by the server's content filter",
    "rejected": "never came: the engine does not take the request",
    "lost": "never came: no answer in time, no connection, or an error of the engine",
}
# Not the model's doing: an episode that ends this way has no score.
UNPLAYED: tuple[FaultKind, ...] = ("filtered", "rejected", "lost")

AnswerProblem = Literal["no_answer", "several_answers", "text_around", "empty_answer", "no_action"]
ANSWER_PROBLEMS: dict[AnswerProblem, str] = {
    "no_answer": "had no answer block",
    "several_answers": "had more than one answer block",
    "text_around": "had text beside the answer block",
    "empty_answer": "had an empty answer block",
    "no_action": "answered with text that is not an action",
}
UpdateProblem = Literal[
    "no_hints", "several_hints", "empty_hints", "long_hints", "unreadable_edit", "unknown_hint", "doubled_edit"
]
HINT_PROBLEMS: dict[UpdateProblem, str] = {
    "no_hints": "did not put hints between the two marker lines",
    "several_hints": "had a marker line more than once",
    "empty_hints": "had nothing between the marker lines",
    "long_hints": "wrote hints that are too long",
}
# Of updates by edits (`context.update: delta`).
EDIT_PROBLEMS: dict[UpdateProblem, str] = {
    "unreadable_edit": "had an edit that cannot be read",
    "unknown_hint": "edited a hint that does not exist",
    "doubled_edit": "edited a hint twice, or wrote the same one twice",
}
UPDATE_PROBLEMS: dict[UpdateProblem, str] = {**HINT_PROBLEMS, **EDIT_PROBLEMS}
Written = Literal["written", "unchanged"]
WRITTEN: dict[Written, str] = {"written": "wrote new hints", "unchanged": "left the hints as they are"}

# What a world says of an episode that was played to its end.
PlayedOutcome = Literal["solved", "turns", "unsolved"]
PLAYED: dict[PlayedOutcome, str] = {
    "solved": "solved",
    "turns": "turns used up",
    "unsolved": "ended without success",
}


def _together(*lists: Mapping[Any, str]) -> dict[str, str]:
    return {kind: words for one in lists for kind, words in one.items()}


SOLVE_OUTCOMES = _together(PLAYED, ANSWER_PROBLEMS, FAULTS)
UPDATE_OUTCOMES = _together(WRITTEN, UPDATE_PROBLEMS, FAULTS)
# Replies of the model that could not be used.
UNREADABLE = {
    kind: words for kind, words in _together(ANSWER_PROBLEMS, UPDATE_PROBLEMS, FAULTS).items() if kind not in UNPLAYED
}


@dataclass(frozen=True)
class ReplyFault:
    """What was wrong with a reply. A wrong answer is no fault.

    Attributes:
        kind: One of FAULTS.
        words: What the server said about it, on one line.
    """

    kind: FaultKind
    words: str = ""
