"""result.json of an evaluation: what it holds, and the only code that reads and writes it.

The types are the format: pydantic checks a file against them, and unknown keys are left out. Everything else (tables,
pages, trackers, studies) takes these objects.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field

from codctl.errors import UsageError
from codctl.files import reader
from codctl.files.atomic import write_json
from codctl.files.records import Command, Count, Machine, Seconds, Word
from codctl.outcomes import FaultKind

SCHEMA: Literal[2] = 2
RESULT, HEAD, WALKTHROUGHS = "result.json", "evaluation.json", "walkthrough.json"
EVERY: Literal["every-checkpoint"] = "every-checkpoint"
FINAL, WARM_START, START = "final", "warm-start", "start"

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float

    @property
    def is_sure(self) -> bool:
        """Whether the interval tells it from zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class PositionPoint(Estimate):
    """A mean at a position in the pack, counted from 0."""

    position: Count

    @property
    def place(self) -> int:
        """As people count."""
        return self.position + 1


@dataclass(frozen=True)
class AttemptPoint(Estimate):
    """A mean at an attempt of a Ralph loop, counted from 1."""

    attempt: Count

    @property
    def place(self) -> int:
        return self.attempt


@dataclass(frozen=True)
class Gain(Estimate):
    """Success at position `end` less that at `start`, within the same packs."""

    start: Annotated[Count, Field(alias="from")]
    end: Annotated[Count, Field(alias="to")]


Curve = tuple[PositionPoint, ...]  # without positions where nothing was played
AttemptCurve = tuple[AttemptPoint, ...]


def means(curve: Curve, positions: Sequence[int] | None = None) -> list[float | None]:
    """Means at these positions; None where nothing was played.

    Args:
        curve: The points.
        positions: Of the tasks; all up to the last of the curve when left out.
    """
    found = {point.position: point.mean for point in curve}
    return [found.get(place) for place in (range(max(found, default=-1) + 1) if positions is None else positions)]


def _is_absent(value: object) -> bool:
    return not value


def hundredths(curve: Curve) -> Curve:
    """Points as tables and charts show rewards: unlike a share of tasks, 0.9999 may be written as 1.00."""
    return tuple(
        replace(point, mean=round(point.mean, 2), low=round(point.low, 2), high=round(point.high, 2)) for point in curve
    )


@dataclass(frozen=True)
class ArmResult:
    """Curves of one arm, over packs."""

    success: Curve
    shaped_reward: Curve = ()
    hint_correctness: Curve = ()


@dataclass(frozen=True, kw_only=True)
class Graded:
    """Raw rewards that lie between failure and success, beside success.

    Attributes:
        ends: The least and the greatest reward.
        raw_reward: Means of each arm, and of the reference policies on the same packs.
        share: Of what an agent that knows the world gains over a random one, (reward - random) / (informed - random),
            of each arm and of the bayes reference; without positions where knowing the world does not surely gain.
        reward_gain: Mean reward at the last position less that at the first, within the same packs.
        share_gain: The same of the share.
    """

    ends: tuple[float, float]
    raw_reward: dict[Word, Curve]
    share: dict[Word, Curve] = field(default_factory=dict)
    reward_gain: dict[Word, Gain] = field(default_factory=dict)
    share_gain: dict[Word, Gain] = field(default_factory=dict)


@dataclass(frozen=True)
class OutcomeCount:
    """So many (`count` of `of`) episodes of an arm at a position ended in `outcome`."""

    arm: Word
    episode: Literal["solve", "update"]
    position: Count
    outcome: Word
    count: Count
    of: Count


@dataclass(frozen=True)
class Quote:
    """What a server said about a kind of fault, so many times."""

    kind: FaultKind
    words: str
    count: Count = 1


@dataclass(frozen=True)
class Replies:
    """What was wrong with replies.

    Attributes:
        episodes: Tasks that were to be played.
        asked: Replies that were asked for, those of updates included.
        faults: How many of them had each kind of fault.
        words: What the server said most often about each kind.
        by_position: The faults by arm, position and episode; empty for a whole suite.
    """

    episodes: Count = 0
    asked: Count = 0
    faults: dict[FaultKind, Count] = field(default_factory=dict)
    words: tuple[Quote, ...] = ()
    by_position: tuple[Fault, ...] = ()


@dataclass(frozen=True)
class Fault:
    """So many (`count` of `of`) episodes of an arm at a position had this fault."""

    arm: Word
    position: Count
    episode: Literal["solve", "update"]
    kind: FaultKind
    count: Count
    of: Count


@dataclass(frozen=True, kw_only=True)
class AgentUse:
    """What the sessions of an agent program took, over all arms; those of its own updates are not among them.

    Attributes:
        sessions: How many.
        wall_s: Seconds of one: the mean, and the longest.
        peak_mb: Most memory that one held.
        model_calls: In one, on average.
        tool_calls: Calls of the world in one, on average.
        ended: How many ended in each way.
        context: In how many the hints stood `whole` in the program's request, `cut` or `absent`, or there were `none`.
    """

    sessions: Count
    wall_s: tuple[Seconds, Seconds]
    peak_mb: float
    model_calls: float
    tool_calls: float
    ended: dict[Word, Count]
    context: dict[Word, Count]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Numbers by position of the tasks of one world.

    Attributes:
        positions: Positions in the pack, counted from 0.
        arms: Curves by arm.
        ceiling_curves: Success of the reference policies.
        gain: Of each arm where it is known: success at the last position less that at the first.
        regret: Tasks of a pack that the bayes reference solves more than the arm.
        own_less_none: Success with own hints less that without any, at the last position.
        graded: The rewards of a graded family; None, and not in the file, for others.
        hint_detail: Means of further numbers about hints, by arm and name; not in the file where there are none.
    """

    positions: tuple[Count, ...] = ()
    arms: dict[Word, ArmResult] = field(default_factory=dict)
    ceiling_curves: dict[Word, Curve] = field(default_factory=dict)
    gain: dict[Word, Gain] = field(default_factory=dict)
    regret: dict[Word, Estimate] = field(default_factory=dict)
    own_less_none: Estimate | None = None
    graded: Annotated[Graded | None, Field(exclude_if=_is_absent)] = None
    hint_detail: Annotated[dict[Word, dict[Word, Curve]], Field(exclude_if=_is_absent)] = field(default_factory=dict)

    @property
    def has_success(self) -> bool:
        """Whether any task was played."""
        return any(arm.success for arm in self.arms.values())

    def success(self, arm: str) -> Curve:
        """Success by position; empty when the arm was not played."""
        return self.arms[arm].success if arm in self.arms else ()


@dataclass(frozen=True, kw_only=True)
class Distractors(Measured):
    """The distractors between those of the pack's own world."""

    family: Word
    preset: Word | None = None


@dataclass(frozen=True, kw_only=True)
class PartHead:
    """One evaluation: a world and how its packs are put together."""

    name: Word
    family: Word
    preset: Word
    variant: Word | None = None
    strategy: Word = "cod"
    packs: Count
    length: Count

    @property
    def world(self) -> str:
        return " ".join(filter(None, (self.family, self.preset, self.variant)))

    @property
    def evaluation(self) -> str:
        """The first half of its name."""
        return self.name.partition("/")[0]

    @property
    def title(self) -> str:
        return self.name.replace("/", ": ", 1)


@dataclass(frozen=True, kw_only=True)
class PartResult(PartHead, Measured):
    """What one evaluation found, and how it was sampled."""

    rendering: Word = "full"
    split: Word = "test"
    seeds: tuple[Count, ...] = (0,)
    temperature: float = 1.0
    solve_tokens: Count = 0
    update_tokens: Count = 0
    suggested_tokens: Count | None = None
    answers: Word = "auto"
    update: Annotated[Word, Field(exclude_if=lambda value: value == "rewrite")] = "rewrite"
    drift_at: Count | None = None
    poison: float | None = None
    failed_episodes: Count = 0
    replies: Replies = field(default_factory=Replies)
    outcomes: tuple[OutcomeCount, ...] = ()
    solved_by_attempt: dict[Word, AttemptCurve] | None = None  # of a Ralph loop: arms and references
    distractors: Distractors | None = None  # of the strategy `distractor`
    agent: Annotated[AgentUse | None, Field(exclude_if=_is_absent)] = None  # where an agent program played

    @property
    def axis(self) -> str:
        """What runs along its curves."""
        return "position" if self.solved_by_attempt is None else "attempt"


@dataclass(frozen=True)
class AgentInfo:
    """The agent program that a subject was evaluated in.

    Attributes:
        name: As users type it.
        title: For people.
        version: Its own.
        protocol: `answer` where the model was shown the form that it was trained on, `tools` where it read what the
            agent wrote.
        update: Who wrote the hints: `codctl`, by its own prompt, or the `agent`, in its own memory.
        tools: The program's own tools beside those of the world: `none` or `all`.
        sandbox: What its processes were shut into.
    """

    name: Word
    title: str
    version: str
    protocol: Word
    update: Word = "codctl"
    tools: Word = "none"
    sandbox: Word = "none"

    @property
    def sentence(self) -> str:
        """Where the model sat, and what it read."""
        read = "the model read its training form" if self.protocol == "answer" else "the model read the agent's prompt"
        own = ", with all of its own tools" if self.tools == "all" else ""
        hints = "; the agent wrote the hints itself" if self.update == "agent" else ""
        return f"{self.title} {self.version}{own}: {read}{hints}"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The model that was evaluated.

    Attributes:
        kind: What it is.
        name: Of run, model, policy, or on the server.
        checkpoint: Which model of its run: `final`, `warm-start`, `start`, a step, or `every-checkpoint`.
        step: Steps of CoD-Train behind it.
        steps: Steps that its run trains.
        models: How many saved models of the run.
        folder: Of the model.
        endpoint: Of the server.
        agent: The agent program that it played in; None for codctl's own loop.
    """

    kind: Literal["run", "model", "policy", "endpoint"]
    name: str
    checkpoint: Word | None = None
    step: Count | None = None
    steps: Count | None = None
    models: Count | None = None
    folder: str | None = None
    dtype: Word | None = None
    engine: Word | None = None
    endpoint: str | None = None
    agent: AgentInfo | None = None

    @property
    def title(self) -> str:
        """The first line of every table and page: `run tiny, step 20 of 100`."""
        return self._who + (f", inside {self.agent.title} {self.agent.version}" if self.agent else "")

    @property
    def _who(self) -> str:
        if self.kind == "run":
            return f"run {self.name}, {self.model}"
        if self.kind == "policy":
            return f"scripted policy {self.name}"
        return f"model {self.name}" + (f" on {self.endpoint}" if self.kind == "endpoint" else "")

    @property
    def model(self) -> str:
        """Which model of its run: `step 20 of 100`."""
        names = {
            None: "step unknown",
            FINAL: f"final model (step {self.step})",
            WARM_START: "warm start (step 0)",
            START: "model before training (step 0)",
            EVERY: f"every saved model ({self.models})",
        }
        return names.get(self.checkpoint, f"step {self.step} of {self.steps}")


@dataclass(frozen=True)
class ChatInfo:
    """How conversations were written."""

    turns: Word
    system_text: Word
    stop_tokens: tuple[str, ...]
    date: Word | None = None


@dataclass(frozen=True)
class Usage:
    """What a server was asked for; None where it did not count."""

    requests: Count = 0
    replies: Count = 0
    failed: Count = 0
    cut_short: Count = 0
    uncounted: Count = 0
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    retries: Count = 0
    cost: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Head:
    """The top of a result: what was played, by which model, and how to repeat it."""

    schema: Literal[2] = SCHEMA
    suite: Word
    description: str = ""
    digest: Word
    subject: Subject
    folder: str
    command: Command
    codctl_version: Word
    machine: Machine
    chat: ChatInfo | None = None


@dataclass(frozen=True, kw_only=True)
class Begun(Head):
    """evaluation.json: what is played, for those who look before there is a result."""

    parts: tuple[PartHead, ...]
    trajectories: Count


@dataclass(frozen=True, kw_only=True)
class EvalResult(Head):
    """A suite on one model.

    Attributes:
        seconds: That playing took, over all attempts.
        attempts: How many there were.
        usage: Of a server.
        failed_episodes: Episodes that could not be played.
        replies: What was wrong with replies, over all parts.
        to_play_again: Trajectories that the same command plays again.
        parts: Its evaluations.
    """

    seconds: Seconds
    attempts: Count = 1
    usage: Usage | None = None
    failed_episodes: Count = 0
    replies: Replies = field(default_factory=Replies)
    to_play_again: Count = 0
    parts: tuple[PartResult, ...]


@dataclass(frozen=True)
class StepPoint:
    """An arm of one model of a run."""

    step: Count
    success: Curve
    gain: Gain | None = None
    raw_reward: Annotated[Curve, Field(exclude_if=_is_absent)] = ()  # of a graded family, as the share
    share: Annotated[Curve, Field(exclude_if=_is_absent)] = ()


@dataclass(frozen=True, kw_only=True)
class StepsPart(PartHead):
    """One evaluation of every model: for each arm its success by step."""

    rendering: Word
    split: Word
    positions: tuple[Count, ...]
    arms: dict[Word, tuple[StepPoint, ...]]
    ceiling_curves: dict[Word, Curve]

    @property
    def has_success(self) -> bool:
        """Whether any task was played."""
        return any(point.success for points in self.arms.values() for point in points)


@dataclass(frozen=True, kw_only=True)
class StepsModel(Subject):
    """One model, and the folder of its own evaluation."""

    evaluation: str


@dataclass(frozen=True, kw_only=True)
class StepsHead(Head):
    """The same of a suite on every saved model of a run, before its numbers."""

    kind: Literal["every-checkpoint"] = EVERY
    seconds: Seconds
    failed_episodes: Count = 0
    to_play_again: Count = 0
    warnings: tuple[str, ...] = ()
    models: tuple[StepsModel, ...]


@dataclass(frozen=True, kw_only=True)
class StepsResult(StepsHead):
    """A suite on every saved model of a run."""

    parts: tuple[StepsPart, ...]


@dataclass(frozen=True)
class Move:
    """One reply, and what the world answered."""

    reply: str
    observation: str


@dataclass(frozen=True)
class HintScore:
    """How right hints are."""

    right: Count
    wrong: Count
    missing: Count
    knowable: Count
    detail: Annotated[dict[Word, float], Field(exclude_if=_is_absent)] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ToldEpisode:
    """One task of a walkthrough, and the update after it (None after the last task)."""

    position: Count
    task: str
    moves: tuple[Move, ...]
    success: bool
    outcome: Word
    feedback: str
    hint_before: str
    hint_after: str | None = None
    hint_score: HintScore | None = None
    update_reply: str | None = None
    update_problem: str | None = None
    raw_reward: Annotated[float | None, Field(exclude_if=lambda value: value is None)] = None  # of a graded family
    session: Annotated[str | None, Field(exclude_if=lambda value: value is None)] = None  # folder of an agent program's


@dataclass(frozen=True)
class Walkthrough:
    """One pack told in full."""

    pack: Word
    truth: str
    episodes: tuple[ToldEpisode, ...]


Walkthroughs = dict[Word, Walkthrough]  # by part, where own hints were played

_HINT = "the command that made it makes it again"


def read(path: Path, *, within: Path | None = None) -> EvalResult | StepsResult | None:
    """A result; None when there is none.

    Args:
        path: The file.
        within: Between this folder and the file there may be no link; the file's own folder by default.

    Raises:
        UsageError: It is damaged, or of an earlier codctl.
    """
    kinds: tuple[type[EvalResult], type[StepsResult]] = (EvalResult, StepsResult)
    return _read(path, kinds, within)


def read_head(path: Path) -> Begun | StepsHead | None:
    """evaluation.json; None when there is none.

    Raises:
        UsageError: It is damaged, or of an earlier codctl.
    """
    kinds: tuple[type[Begun], type[StepsHead]] = (Begun, StepsHead)
    return _read(path, kinds)


def read_walkthroughs(path: Path) -> Walkthroughs:
    """One pack of each part; empty when none was told.

    Raises:
        UsageError: It is damaged.
    """
    return reader.read_as(path, lambda found: reader.check(found, Walkthroughs, strict=False), hint=_HINT) or {}


def write(path: Path, value: Head | Walkthroughs) -> None:
    """Write it as JSON, all of it or nothing."""
    write_json(path, to_json(value))


def to_json(value: Any) -> dict[str, Any]:
    """One of these types as JSON; subjects also say their title, and nothing that they are not."""
    kind: Any = Walkthroughs if isinstance(value, dict) else type(value)
    body: dict[str, Any] = reader.adapter(kind).dump_python(value, mode="json", by_alias=True)
    if isinstance(value, Head):
        body["subject"] = to_json(value.subject)
    if isinstance(value, StepsHead):
        body["models"] = [to_json(model) for model in value.models]
    if isinstance(value, Subject):
        body = {key: known for key, known in body.items() if known is not None} | {"title": value.title}
    return body


def of(kind: type[T], values: Mapping[str, Any]) -> T:
    """One of these types from JSON.

    Raises:
        UnfitError: It does not fit.
    """
    return reader.check_json(json.dumps(values), kind)


def _read(path: Path, kinds: tuple[type[T], type[U]], within: Path | None = None) -> T | U | None:
    """The first of two types, or the second for a suite on every saved model."""

    def made(found: Any) -> T | U:
        values = found if isinstance(found, dict) else {}
        if values.get("schema", 1) != SCHEMA:
            raise UsageError(f"{path.name} is of another version of codctl", where=str(path), hint=_HINT)
        is_every = values.get("kind") == EVERY
        return reader.check(found, kinds[1], strict=False) if is_every else reader.check(found, kinds[0], strict=False)

    return reader.read_as(path, made, within=within, hint=_HINT)
