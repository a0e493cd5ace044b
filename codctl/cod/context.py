"""The agent's own notes about the world, as a chain of revisions. Nothing is ever overwritten."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from codctl.outcomes import UpdateProblem, Written

START = "--- Start of updated hints ---"
END = "--- End of updated hints ---"


@dataclass(frozen=True)
class Revision:
    """One version of the hints.

    Attributes:
        number: 0 for the empty context at the start of a trajectory.
        parent: Number of the revision it came from; None for the first.
        text: The hints.
        tokens: Length of the text for the model that reads it.
        written_after: Position whose update produced it; None for the first.
        parsed: Whether the update could be read. When not, the text is the parent's, or empty if the context was wiped.
        problem: Why it could not be read.
    """

    number: int = 0
    parent: int | None = None
    text: str = ""
    tokens: int = 0
    written_after: int | None = None
    parsed: bool = True
    problem: str = ""


@dataclass(frozen=True)
class ParsedUpdate:
    """The hints that a reply leads to, or why there are none.

    Attributes:
        text: The hints.
        problem: Why there are none.
        kind: The same as an outcome.
        edits: Of an update by edits: them, as they are written; None where all hints were written anew.
        is_unchanged: Whether it says that nothing has to change.
    """

    text: str
    problem: str = ""
    kind: UpdateProblem | None = None
    edits: str | None = None
    is_unchanged: bool = False

    @property
    def outcome(self) -> UpdateProblem | Written:
        return self.kind or ("unchanged" if self.is_unchanged else "written")


def parse_update(reply: str, max_chars: int) -> ParsedUpdate:
    """Take the hints from between the two marker lines, each of which must occur exactly once."""
    found = between_markers(reply)
    return found if found.problem else checked(found.text, max_chars)


def between_markers(reply: str) -> ParsedUpdate:
    """What stands between the two marker lines; nothing at all is a problem too."""
    if reply.count(START) != 1 or reply.count(END) != 1:
        starts, ends = reply.count(START), reply.count(END)
        kind: UpdateProblem = "several_hints" if starts and ends else "no_hints"
        return ParsedUpdate("", f"expected each hint marker once, found {starts} and {ends}", kind)
    _, _, rest = reply.partition(START)
    text, found, _ = rest.partition(END)
    if not found:
        return ParsedUpdate("", "the end marker comes before the start marker", "no_hints")
    text = text.strip()
    if not text:
        return ParsedUpdate("", "the hints are empty", "empty_hints")
    return ParsedUpdate(text)


def checked(text: str, max_chars: int) -> ParsedUpdate:
    """These hints, unless they are too long."""
    if len(text) > max_chars:
        return ParsedUpdate("", f"the hints have {len(text)} characters, {max_chars} are allowed", "long_hints")
    return ParsedUpdate(text)


def as_hints(text: str, max_chars: int) -> ParsedUpdate:
    """A whole text as hints, unless it is empty or too long."""
    text = text.strip()
    return checked(text, max_chars) if text else ParsedUpdate("", "the hints are empty", "empty_hints")


def revise(
    current: Revision, update: ParsedUpdate, *, position: int, tokens: int, on_parse_failure: Literal["keep", "wipe"]
) -> Revision:
    """The next revision: the parsed hints, or after a failure what `on_parse_failure` says."""
    if update.problem:
        keep = on_parse_failure == "keep"
        text, tokens = (current.text, current.tokens) if keep else ("", 0)
    else:
        text = update.text
    return Revision(current.number + 1, current.number, text, tokens, position, not update.problem, update.problem)
