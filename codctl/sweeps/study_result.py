"""result.json of a sweep or study: what it holds, and the only code that reads and writes it.

The types are the format. Success is raw throughout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from codctl.errors import UsageError
from codctl.files import reader
from codctl.files.atomic import write_json
from codctl.files.records import Count, Seconds, Text, Word
from codctl.runs.eval_result import Estimate
from codctl.sweeps.trials import IN_RUN

RESULT = "result.json"
SCHEMA: Literal[2] = 2
State = Literal["complete", "incomplete", "unequal", "absent"]
_HINT = "the command that made it makes it again"


@dataclass(frozen=True)
class SeedEstimate(Estimate):
    """A mean over training seeds, and that of each seed."""

    by_seed: tuple[float, ...]


@dataclass(frozen=True)
class PositionEstimate(SeedEstimate):
    """At a position in the pack, counted from 0."""

    position: Count

    @property
    def place(self) -> int:
        """As people count."""
        return self.position + 1


@dataclass(frozen=True)
class AttemptEstimate(SeedEstimate):
    """At an attempt of a Ralph loop, counted from 1."""

    attempt: Count

    @property
    def place(self) -> int:
        return self.attempt


Curve = tuple[PositionEstimate, ...]


@dataclass(frozen=True, kw_only=True)
class GradedNumbers:
    """Rewards of a graded family, by arm and reference, as in the result of an evaluation.

    Attributes:
        raw_reward: Means by position.
        share: Of what knowing the world gains.
        share_gain: At the last position less that at the first.
    """

    raw_reward: dict[Word, Curve]
    share: dict[Word, Curve]
    share_gain: dict[Word, SeedEstimate]


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """One evaluation over the training seeds of a setting.

    Attributes:
        packs: Of each seed.
        positions: In the pack, counted from 0.
        failed_episodes: That could not be played, of all seeds.
        unread: What to say where most replies could not be read; else empty.
        arms: Success by position.
        references: The same of the reference policies.
        gain: Success at the last position less that at the first, by arm.
        own_less_none: Success with own hints less that without any, at the last position.
        solved_by_attempt: Of a Ralph loop: tasks solved at least once so far, by arm and reference.
        graded: Of a graded family; None, and not in the file, for others.
    """

    packs: Count = 0
    positions: tuple[Count, ...] = ()
    failed_episodes: Count = 0
    unread: Text = ""
    arms: dict[Word, Curve] = field(default_factory=dict)
    references: dict[Word, Curve] = field(default_factory=dict)
    gain: dict[Word, SeedEstimate] = field(default_factory=dict)
    own_less_none: SeedEstimate | None = None
    solved_by_attempt: dict[Word, tuple[AttemptEstimate, ...]] | None = None
    graded: Annotated[GradedNumbers | None, Field(exclude_if=lambda value: value is None)] = None

    def last_success(self, arm: str = "own") -> PositionEstimate | None:
        """At the last position; None when the arm was not played."""
        curve = self.arms.get(arm)
        return curve[-1] if curve else None


@dataclass(frozen=True, kw_only=True)
class Cell(Numbers):
    """One setting in one evaluation; it has numbers only when it is complete.

    Attributes:
        setting: Its title.
        evaluation: The key.
        state: `unequal` when the seeds were not played alike, `absent` when the setting is not to play it.
        seeds: Training seeds that have a result.
        of: How many there are to be.
        incomplete_trials: Names of those without one.
        relation: To the training, a key of `findings.RELATIONS`; empty when it is not known.
    """

    setting: Word
    evaluation: Word
    state: State
    seeds: tuple[Any, ...] = ()
    of: Count = 0
    incomplete_trials: tuple[Word, ...] = ()
    relation: Word = ""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What was played; the world is not known before there is a result.

    Attributes:
        key: Names it within the sweep.
        source: The suite, or `after` for the evaluation that ends a run.
        entry: Of the suite, where there may be several.
    """

    key: Word
    source: Word
    entry: Word = ""
    family: Word | None = None
    preset: Word | None = None
    variant: Word | None = None
    strategy: Word | None = None
    packs: Count | None = None
    length: Count | None = None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Of the evaluations with one relation to the training, how many say what (`findings.CLAIMS`).

    Attributes:
        relation: A key of `findings.RELATIONS`.
        where: The same in words.
        of: Complete evaluations.
        incomplete: Evaluations that are not.
        gains: Of own hints, where they could be read.
        answer: yes, in part, no, unreadable or incomplete.
    """

    relation: Word
    where: Word
    learns: Count = 0
    improves: Count = 0
    nothing: Count = 0
    worsens: Count = 0
    unread: Count = 0
    of: Count = 0
    incomplete: Count = 0
    gains: tuple[float, ...] = ()
    answer: Word = "incomplete"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What the own hints of one ablation are better by than those of another, seed by seed and pack by pack."""

    setting: Word
    evaluation: Word
    ours: Word
    theirs: Word
    gain: SeedEstimate
    last: SeedEstimate


@dataclass(frozen=True)
class Ablations:
    """All differences, and a sentence on each pair of ablations."""

    said: tuple[Text, ...] = ()
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True)
class SettingInfo:
    """What its trials have in common: all but the training seed."""

    title: Word
    labels: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class IncompleteTrial:
    """A trial that results lack, why, and what to type."""

    trial: Word
    labels: dict[str, Any]
    status: Word
    missing: tuple[Text, ...]
    message: Text
    hint: Text


@dataclass(frozen=True, kw_only=True)
class TrialInfo:
    """One trial; `seconds` are those of all its attempts."""

    name: Word
    labels: dict[str, Any]
    status: Word
    is_complete: bool
    digest: Word
    attempts: Count
    seconds: Seconds
    command: Text


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """What a sweep or study found so far; nothing that is incomplete is averaged over.

    Attributes:
        main: Titles of the settings that a study is about: those of its first ablation.
    """

    schema: Literal[2] = SCHEMA
    name: Word
    kind: Word
    source: Text
    command: Text
    folder: Text
    codctl_version: Word
    headline: Text
    complete: bool
    trials_complete: Count
    incomplete: tuple[IncompleteTrial, ...]
    answers: tuple[Answer, ...]
    ablations: Ablations
    settings: tuple[SettingInfo, ...]
    main: tuple[Word, ...]
    evaluations: tuple[Evaluation, ...]
    cells: tuple[Cell, ...]
    method: Text
    trials: tuple[TrialInfo, ...]

    @property
    def is_matrix(self) -> bool:
        """Whether suites were to be played, not only the evaluation that ends each run."""
        return any(one.source != IN_RUN for one in self.evaluations)

    @property
    def by_place(self) -> Mapping[tuple[str, str], Cell]:
        """Cells by setting and evaluation."""
        return {(cell.setting, cell.evaluation): cell for cell in self.cells}


def read(folder: Path) -> StudyResult | None:
    """The result of a sweep's folder; None when there is none.

    Raises:
        UsageError: It is damaged, or of an earlier codctl.
    """
    path = folder / RESULT

    def made(found: Any) -> StudyResult:
        if not isinstance(found, dict) or found.get("schema", 1) != SCHEMA:
            raise UsageError(f"{path.name} is of another version of codctl", where=str(path), hint=_HINT)
        return reader.check(found, StudyResult, strict=False)

    return reader.read_as(path, made, hint=_HINT)


def write(folder: Path, result: StudyResult) -> None:
    """Write it as JSON, all of it or nothing."""
    write_json(folder / RESULT, to_json(result))


def to_json(result: StudyResult) -> dict[str, Any]:
    values: dict[str, Any] = reader.adapter(StudyResult).dump_python(result, mode="json")
    return values
