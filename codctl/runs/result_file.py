"""result.json of an evaluation or a suite: the keys that codctl reads, with their types. Others are kept."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NotRequired, cast

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from codctl.errors import UsageError
from codctl.files import reader
from codctl.files.forms import Command, Count, Machine, Real, Seconds, Text, Word

_HINT = "move its folder away; the command that made it makes it again"

_open = with_config(ConfigDict(extra="allow"))


@_open
class Point(TypedDict):
    """A point of a curve by position."""

    position: Count
    mean: Real
    low: Real
    high: Real


@_open
class AttemptPoint(TypedDict):
    """A point of a curve by attempt."""

    attempt: Count
    mean: Real
    low: Real
    high: Real


@_open
class StepPoint(TypedDict):
    """The curve of one model of a run."""

    step: Count
    success: list[Point]


@_open
class Estimate(TypedDict):
    """A number with its 95 % interval."""

    mean: Real
    low: Real
    high: Real


@_open
class Counted(TypedDict):
    """How many episodes at a position of an arm ended in one way."""

    arm: Word
    episode: Word
    position: Count
    count: Count
    of: Count


@_open
class Fault(Counted):
    """Of replies that could not be used."""

    kind: Word


@_open
class Outcome(Counted):
    """Of episodes."""

    outcome: Word


@_open
class Said(TypedDict):
    """What a server said about a kind of fault."""

    kind: Word
    words: Text


@_open
class Replies(TypedDict):
    """What was wrong with replies."""

    episodes: Count
    asked: Count
    faults: dict[Word, Count]
    by_position: NotRequired[list[Fault]]
    words: list[Said]


@_open
class Subject(TypedDict):
    """What was evaluated."""

    kind: Literal["run", "model", "policy", "endpoint"]
    name: Text
    checkpoint: NotRequired[Word | None]
    step: NotRequired[Count | None]
    title: NotRequired[Text]


@_open
class Measured(TypedDict):
    """What came of the tasks of one evaluation."""

    positions: NotRequired[list[Count]]
    ceilings: NotRequired[dict[Word, list[Real]]]
    ceiling_curves: NotRequired[dict[Word, list[Point]]]
    arms: NotRequired[dict[Word, dict[Word, list[Point]] | list[StepPoint]]]
    gain: NotRequired[dict[Word, Estimate]]
    regret: NotRequired[dict[Word, Estimate]]
    own_less_none: NotRequired[Estimate]
    solved_by_attempt: NotRequired[dict[Word, list[AttemptPoint]]]


@_open
class Part(Measured):
    """One evaluation."""

    name: NotRequired[Word | None]
    family: NotRequired[Word]
    preset: NotRequired[Word]
    variant: NotRequired[Word | None]
    strategy: NotRequired[Word]
    rendering: NotRequired[Word]
    packs: NotRequired[Count]
    length: NotRequired[Count]
    seeds: NotRequired[list[Count]]
    foreign: NotRequired[Measured | None]
    failed_episodes: NotRequired[Count]
    replies: NotRequired[Replies | None]
    outcomes: NotRequired[list[Outcome] | None]


@_open
class Result(Part):
    """result.json: of one evaluation, or of a suite with its parts. evaluation.json has the same head."""

    suite: NotRequired[Word]
    kind: NotRequired[Word]
    digest: NotRequired[Word]
    subject: NotRequired[Subject]
    command: NotRequired[Command]
    codctl_version: NotRequired[Word]
    seconds: NotRequired[Seconds]
    machine: NotRequired[Machine]
    to_play_again: NotRequired[Count]
    trajectories: NotRequired[Count]
    parts: NotRequired[list[Part]]


@_open
class Row(TypedDict):
    """A line of rows.jsonl: one task of one arm."""

    arm: Word
    pack: Word
    position: Count
    success: Real


class Move(TypedDict):
    """One reply, and what the world answered."""

    reply: Text
    observation: Text


@_open
class HintScore(TypedDict):
    """How right hints are."""

    right: Count
    wrong: Count
    missing: Count
    knowable: Count


@_open
class Episode(TypedDict):
    """One task of a walkthrough."""

    position: Count
    task: Text
    moves: list[Move]
    success: bool
    outcome: NotRequired[Word]
    feedback: NotRequired[Text | None]
    hint_before: NotRequired[Text | None]
    hint_after: NotRequired[Text | None]
    hint_score: NotRequired[HintScore | None]
    update_reply: NotRequired[Text | None]
    update_problem: NotRequired[Text | None]


@_open
class Walkthrough(TypedDict):
    """walkthrough.json: one pack told in full; an empty object when none was."""

    pack: Word
    truth: Text
    episodes: list[Episode]


@contextlib.contextmanager
def shown(path: Path) -> Iterator[None]:
    """Name the result that lacks what a table or page needs: `read` checks types, but most keys may be absent.

    Args:
        path: Of the result, or of the folder that holds it.

    Raises:
        UsageError: Something is missing.
    """
    try:
        yield
    except (KeyError, TypeError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else f"a value is missing ({error})"
        hint = _HINT if path.is_file() else ""
        raise UsageError(f"the result cannot be shown: {what}", where=str(path), hint=hint) from error


def read(path: Path, *, within: Path | None = None) -> dict[str, Any] | None:
    """A result; None when there is none.

    Raises:
        UsageError: It is damaged.
    """
    found = reader.read(path, Result, within=within, most_bytes=reader.LARGE, hint=_HINT)
    return cast("dict[str, Any] | None", found)
