"""What can be wrong with a reply: a closed list. A wrong answer is no fault."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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


@dataclass(frozen=True)
class ReplyFault:
    """What was wrong with a reply.

    Attributes:
        kind: One of FAULTS.
        words: What the server said about it, on one line.
    """

    kind: FaultKind
    words: str = ""
