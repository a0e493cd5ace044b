"""The door for trackers: what a tracker implements, and what it gets.

metrics.jsonl is the truth. A tracker gets copies, in a process beside the run, so that it cannot slow or stop it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from codctl.tracking.state import State
from codctl.trust import TRUSTED

if TYPE_CHECKING:
    from codctl.config.schema import TrackingConfig

Status = Literal["planned", "queued", "running", "paused", "finished", "failed", "interrupted", "cancelled", "died"]
Option = str | int | float | bool


class Point(NamedTuple):
    """One number of one step.

    Attributes:
        key: Phase and name: `train/loss`.
        step: Of the phase.
        value: Finite.
        at_ms: Wall time, milliseconds.
    """

    key: str
    step: int
    value: float
    at_ms: int


@dataclass(frozen=True)
class Evaluation:
    """A finished evaluation of a run.

    Attributes:
        place: Its folder below the run's or the runs folder; another result in the same place replaces this one.
        name: What to call it below its run.
        stamp: Changes with the result.
        settings: What was played.
        points: Its numbers; the step is the position in the pack, or the attempt.
        command: As it was typed, where a command played it.
        files: Small ones: result and pages.
        ended_ms: Wall time, milliseconds.
    """

    place: str
    name: str
    stamp: str
    settings: Mapping[str, object]
    points: Sequence[Point]
    command: Sequence[str]
    files: Sequence[Path]
    ended_ms: int


@dataclass(frozen=True)
class Artifact:
    """A small file of a run or of one of its evaluations.

    Attributes:
        path: Where it lies.
        folder: What to put it in; empty for none.
        evaluation: Place of the evaluation that it belongs to.
        text: To be shown instead of what the file holds.
    """

    path: Path
    folder: str = ""
    evaluation: str = ""
    text: str | None = None


@dataclass(frozen=True)
class Subject:
    """A run, or a sweep, as a tracker sees it. It holds no secret.

    Attributes:
        kind: What it is.
        state: Its unique `key`; `memory`, for what the tracker wants to find again, such as an id, with `save()`; and
            `steps`, of each key the last step that codctl knows to have been sent.
        settings: Every key of the config, dotted, and the digest.
        about: `command`, `commit`, `user`, `description`, `digest`, as far as they are known.
        created_ms: Wall time, milliseconds.
        ended_ms: End of the last attempt, if it has ended.
        sweep: What it is a trial of.
    """

    kind: Literal["run", "sweep"]
    state: State
    settings: Mapping[str, object] = field(default_factory=dict)
    about: Mapping[str, str] = field(default_factory=dict)
    created_ms: int = 0
    ended_ms: int | None = None
    sweep: Subject | None = None

    @property
    def folder(self) -> Path:
        return self.state.folder

    @property
    def name(self) -> str:
        """Of the folder."""
        return self.folder.name

    @property
    def title(self) -> str:
        """Its name, of a trial after its sweep's."""
        return f"{self.sweep.name}/{self.name}" if self.sweep else self.name


class Sink:
    """One tracker. Every method but `attach` may be left as it is; one that raises is called again later.

    What was sent may be sent again after a crash, so that evaluations and files must replace what is there.

    Args:
        tracking: The section `tracking` of the recipe.
        options: `tracking.options.NAME`.

    Attributes:
        title: Its name in messages.
        package: The module that it needs.
        install: What to type when that is missing.
        has_sweeps: Whether sweeps have something of their own there.
        trusted_by: The environment variable with which a user chooses an address.
    """

    title: ClassVar[str] = ""
    package: ClassVar[str] = ""
    install: ClassVar[str] = ""
    has_sweeps: ClassVar[bool] = False
    trusted_by: ClassVar[str] = TRUSTED

    def __init__(self, tracking: TrackingConfig, options: Mapping[str, Option]) -> None:
        self.tracking, self.options = tracking, options

    def address(self) -> str | None:
        """What it contacts; None when all stays in the runs folder.

        A run's folder may name any address, so only those are contacted that the user's own recipes named.
        """
        return None

    def attach(self, subject: Subject) -> Mapping[str, int]:
        """Find what was begun for this run, or begin it. Returns the last step that has arrived, by key."""
        raise NotImplementedError

    def log(self, points: Sequence[Point]) -> None:
        """Store points, in order. Each is sent once."""

    def evaluation(self, evaluation: Evaluation) -> None:
        """Store an evaluation, instead of an earlier one of the same place."""

    def artifact(self, artifact: Artifact) -> None:
        """Store a file, instead of an earlier one of the same name."""

    def status(self, status: Status) -> None:
        """Store how the run stands."""

    def close(self) -> None:
        """See that all that was sent has arrived."""

    @classmethod
    def has_answered(cls, error: Exception) -> bool:
        """Whether an error says that the tracker was there and refused, rather than that it was not there."""
        return False
