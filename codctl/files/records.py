"""What each file of a run, a sweep or an evaluation may hold. `runs.reader` checks it; other keys are left out.

Names, ids, digests and paths come from closed alphabets: they become parts of paths and command lines.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, ConfigDict, Field, with_config
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

_REMOVING = {"cancel", "clean", "rm", "remove", "delete", "sync"}  # commands that take away or send


def _matching(pattern: str, what: str) -> AfterValidator:
    known = re.compile(pattern, re.ASCII)

    def check(value: str) -> str:
        if not known.fullmatch(value):
            raise PydanticCustomError("alphabet", "it should be {what}", {"what": what})
        return value

    return AfterValidator(check)


def _makes_results() -> AfterValidator:
    """A stored command is shown as what to type next, so it is codctl's and takes nothing away."""

    def check(words: list[str]) -> list[str]:
        if words[:1] not in ([], ["codctl"]) or not _REMOVING.isdisjoint(words[1:3]):
            raise PydanticCustomError("command", "it should be a command of codctl that makes runs or results")
        return words

    return AfterValidator(check)


def _inside() -> AfterValidator:
    def check(value: str) -> str:
        path = PurePosixPath(value)
        if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in value:
            raise PydanticCustomError("inside", "it should be a path inside its folder")
        return value

    return AfterValidator(check)


Text = Annotated[str, Field(max_length=100_000)]
Word = Annotated[str, Field(max_length=500)]
Count = Annotated[int, Field(ge=0, le=10**15)]
Number = Annotated[int, Field(ge=0, le=999_999)]  # of an attempt
Seconds = Annotated[float, Field(ge=0, le=1e12)]
ProcessId = Annotated[int, Field(ge=1, le=2**22)]
Real = int | float | None
Name = Annotated[str, _matching(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}", "a name of letters, digits, '.', '_' and '-'")]
DIGEST = r"[0-9a-f]{16}"
Digest = Annotated[str, _matching(DIGEST, "a digest of 16 hex digits")]
Sha256 = Annotated[str, _matching(r"[0-9a-f]{64}", "a hash of 64 hex digits")]
SLURM_JOB_ID = r"[1-9]\d{0,9}(_\d{1,9})?"
JobId = Annotated[str, _matching(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", "a job id such as 12 or 12_3")]
TrackerKey = Annotated[str, _matching(r"[0-9a-f]{32}", "a key of 32 hex digits")]
InsidePath = Annotated[str, Field(max_length=4096), _inside()]
SuitePath = Annotated[
    str,
    _matching(
        r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}|\.\./\.\./suites/[^/\x00-\x1f]{1,254}\.ya?ml",
        "a suite or a file of the sweep's",
    ),
]
Command = Annotated[list[Text], Field(max_length=10_000), _makes_results()]


class Birth(TypedDict):
    """What manifest.json or sweep.json holds since the run or sweep was made."""

    created: Word
    name: NotRequired[Word]
    digest: NotRequired[Word]


class Origin(TypedDict):
    """Where a fork comes from."""

    run: Word
    digest: Digest
    checkpoint: Name
    changed: dict[Word, Any]


class Machine(TypedDict):
    """What a machine says of itself."""

    host: NotRequired[Word]
    system: NotRequired[Word]
    cpu: NotRequired[Word]
    cores: NotRequired[Count]
    memory_gb: NotRequired[Real]
    gpus: NotRequired[list[Word]]
    python: NotRequired[Word]
    commit: NotRequired[Word | None]
    versions: NotRequired[dict[Word, Word | None]]


class Place(TypedDict):
    """Which folder a file was written in; see `runs.place`."""

    path: Annotated[str, Field(max_length=4096)]
    inode: Annotated[int, Field(ge=0)]
    host: Word
    inside: NotRequired[Annotated[str, Field(max_length=4096)]]


class Manifest(TypedDict):
    """manifest.json"""

    schema: Literal[3]
    name: Name
    created: Word
    recipe: Text
    command: Command
    digest: Digest
    codctl_version: Word
    machine: Machine
    sweep: NotRequired[Text | None]
    forked_from: NotRequired[Origin | None]
    place: NotRequired[Place | None]


class Dispatch(TypedDict):
    """dispatch.json, of a run or a sweep"""

    where: Name  # of a launcher
    jobs: Annotated[list[JobId], Field(max_length=100_000)]
    code: NotRequired[Digest]
    submitted: NotRequired[Word]
    after_attempt: NotRequired[Number]
    place: NotRequired[Place]
    cluster: NotRequired[Word]
    scripts: NotRequired[Annotated[list[Word], Field(max_length=10_000)]]
    trials: NotRequired[list[Name]]
    max_parallel: NotRequired[Annotated[int, Field(ge=1, le=1_000_000)] | None]
    max_failures: NotRequired[Annotated[int, Field(ge=0, le=1_000_000)] | None]


class Stop(TypedDict):
    """stop.json"""

    kind: Literal["cancel", "pause"]
    after_attempt: Number
    by: Text
    at: Word


class TrackerState(TypedDict):
    """trackers/NAME.json, of a run or a sweep"""

    schema: Literal[1]
    key: TrackerKey
    memory: Annotated[dict[Word, Annotated[str, Field(max_length=4096)] | None], Field(max_length=100)]
    steps: dict[Text, int]
    evaluations: dict[Text, Word]
    files: dict[Text, Word]
    status: Word
    place: NotRequired[Place]


class Doing(TypedDict):
    """What an attempt does at the moment."""

    phase: NotRequired[Word | None]
    done: NotRequired[Real]
    total: NotRequired[Real]
    left_s: NotRequired[Real]
    part: NotRequired[Word | None]
    work: NotRequired[Word | None]


class Heartbeat(TypedDict):
    """heartbeat.json"""

    attempt: Number
    pid: ProcessId
    host: Word
    beat: Count
    at: Word
    every_s: Seconds
    doing: Doing | None
    trouble: NotRequired[Text]


class Attempt(TypedDict):
    """attempts/NNN/attempt.json"""

    number: Number
    started: Word | None
    ended: Word | None
    seconds: Seconds | None
    outcome: Literal[
        "running", "finished", "failed", "interrupted", "cancelled", "paused", "died"
    ]  # the last is never written
    message: Text
    pid: NotRequired[ProcessId]
    host: NotRequired[Word]
    job: NotRequired[JobId | None]
    code: NotRequired[Digest | None]
    digest: NotRequired[Digest | None]
    mark: NotRequired[Text]


class Environment(Machine):
    """attempts/NNN/environment.json"""

    packages: NotRequired[dict[Word, Word]]
    variables: NotRequired[dict[Word, Text]]


class Frozen(TypedDict):
    """config.json: what `config.freeze` makes of a config, and reads with the schema of configs."""

    schema: NotRequired[Count]
    digest: Digest
    training_digest: NotRequired[Digest]
    evaluation_digest: NotRequired[Digest]
    config: dict[Word, Any]


class SealedFile(TypedDict):
    """One file of a sealed folder."""

    path: InsidePath
    size: Count
    sha256: Sha256


@with_config(ConfigDict(extra="allow"))
class Info(TypedDict):
    """What a folder was sealed with; stages add keys of their own."""

    step: NotRequired[Number]
    training: NotRequired[Digest]
    evaluation: NotRequired[Digest]


class Complete(TypedDict):
    """COMPLETE.json"""

    files: Annotated[list[SealedFile], Field(max_length=1_000_000)]
    info: Info
    sha256: Sha256


class Loss(TypedDict):
    """One step of a warm start."""

    step: Count
    loss: NotRequired[Real]
    lr: NotRequired[Real]
    grad_norm: NotRequired[Real]


class WarmStart(TypedDict):
    """result.json of a warm start."""

    episodes: NotRequired[Count]
    tokens: NotRequired[Count]
    epochs: NotRequired[Real]
    source: NotRequired[Text]
    seconds: NotRequired[Real]
    losses: NotRequired[list[Loss] | None]  # an older codctl kept none


class Teachers(TypedDict):
    """teachers.json of a distillation."""

    weights: dict[Text, Digest]  # by name in the recipe


class Metrics(TypedDict):
    """A line of metrics.jsonl."""

    step: Count
    phase: Word
    at_ms: NotRequired[Any]
    metrics: dict[Word, Real]
    timing: dict[Word, Real]


class Holder(TypedDict):
    """What is written in a lock."""

    pid: ProcessId
    host: Word


class Call(TypedDict):
    """A suite that a trial is to play."""

    name: Name
    suite: SuitePath
    overrides: list[Text]


class TrialPlan(TypedDict):
    """trial.json"""

    schema: Literal[1]
    labels: dict[Word, Any]
    suites: list[Call]


class SweepTrial(TypedDict):
    """One trial in sweep.json."""

    name: Name
    digest: Digest
    labels: dict[Word, Any]
    overrides: list[Text]
    recipe: NotRequired[Text]
    base: NotRequired[Text]
    suites: list[Call]


class Sweep(TypedDict):
    """sweep.json"""

    schema: Literal[1]
    name: Name
    kind: NotRequired[Word]
    description: NotRequired[Text]
    size: NotRequired[Any]
    created: Word
    command: Command
    source: NotRequired[Text | None]
    axes: dict[Word, list[Any]]
    bases: dict[Text, dict[Word, Any]]
    trials: Annotated[list[SweepTrial], Field(max_length=1_000_000)]


class ContextRevision(TypedDict):
    """revisions/NUMBER.json of a context"""

    number: Number
    parent: Number | None
    text: Text
    tokens: Count
    written_after: Count | None
    parsed: bool
    problem: Text
    source: Literal["start", "update", "edit", "agent"]
    model: Word
    task: Text
    reward: Real
    edits: Text | None
    at: Word
    sha256: Sha256


class ContextExport(TypedDict):
    """A place in exports.json of a context."""

    to: Word
    path: Annotated[str, Field(max_length=4096)]
    revision: Number
    sha256: Sha256
    existed: bool
    folders: Annotated[list[Annotated[str, Field(max_length=4096)]], Field(max_length=100)]


class ContextExports(TypedDict):
    """exports.json of a context"""

    exports: Annotated[list[ContextExport], Field(max_length=10_000)]


class Deployed(TypedDict):
    """deployment.json of a context that is deployed"""

    agent: Word
    model: Word
    url: Word
    rendering: Literal["full", "terse", "compact"]
    update: Literal["rewrite", "delta"]
    update_tokens: Count
    temperature: Seconds
    window: Count
    pid: ProcessId


class RalphLoop(TypedDict):
    """ralph.json of a Ralph loop"""

    agent: Word
    model: Word
    prompt_sha256: Sha256
    verify: Annotated[list[Annotated[str, Field(max_length=100_000)]], Field(max_length=1_000)]
    work: Annotated[str, Field(max_length=4096)]


class RalphIteration(TypedDict):
    """iteration.json of one iteration of a Ralph loop"""

    number: Number
    revision: Number
    version: Word
    ended: Word
    model_calls: Count
    wall_s: Seconds
    exit_code: int | None
    said: Text
