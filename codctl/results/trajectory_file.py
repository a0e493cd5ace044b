"""Every trajectory of an evaluation or of a training step in one Parquet file: an episode is a row."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from codctl.cod.arms import play_order
from codctl.cod.conversation import Chat
from codctl.cod.credit import EpisodeCredit
from codctl.cod.references import families_of, references
from codctl.cod.trajectory import Trajectory
from codctl.config.evalspec import EvalSpec
from codctl.envs.base import Pack, Rendering
from codctl.errors import UsageError
from codctl.files import reader
from codctl.files.atomic import make_folder, write_bytes
from codctl.results.journal import Journal, Record, Unit
from codctl.results.rows import PERFORMANCE
from codctl.results.transcript import EpisodeTranscript, transcribe, unpacked

NAME = "trajectories.parquet"
FOLDER = "trajectories"  # of a training: one file for each stored step
TRAINING = "training"  # the arm of what was played to be learned from
SCHEMA = 1
_SCHEMA_KEY = b"codctl.trajectories"
_TOGETHER = 200  # trajectories in a row group: what memory holds as Python objects
_HEAD = ("part", "arm", "seed", "number", "pack", "rollout")
_TYPES = {
    **dict.fromkeys(("part", "arm", "pack"), "string"),
    **dict.fromkeys(("seed", "number", "rollout"), "int64"),
    **dict.fromkeys(("kind", "outcome", "words", "feedback", "task", "truth"), "string"),
    **dict.fromkeys(("hints_before", "hints_after"), "string"),
    **dict.fromkeys(("position", "weight_version"), "int64"),
    **{f"hint_{what}": "int64" for what in ("right", "wrong", "missing", "knowable", "knowable_right")},
    **dict.fromkeys(("success", "reward", "credit_return", "credit_baseline", "credit_advantage"), "float64"),
    "distractor": "bool",
}
_TURN = dict.fromkeys(("prompt", "reply", "read", "answer"), "string") | dict.fromkeys(
    ("prompt_tokens", "reply_tokens"), "int64"
)


@dataclass(frozen=True)
class Transcript:
    """One trajectory.

    Attributes:
        part: Of its suite; empty in training.
        arm: Where its hints came from; also a reference policy, or TRAINING.
        seed: Sampling seed.
        number: Of its pack in the evaluation or the step.
        pack: Id of its pack.
        rollout: Which of the pack's rollouts in training.
        episodes: In order.
    """

    part: str
    arm: str
    seed: int
    number: int
    pack: str
    rollout: int
    episodes: tuple[EpisodeTranscript, ...]

    @property
    def solves(self) -> list[EpisodeTranscript]:
        return [episode for episode in self.episodes if episode.kind == "solve"]


def write(path: Path, transcripts: Iterable[Transcript], *, graded: bool = False, by_agent: bool = False) -> None:
    """Store trajectories, all of them or none.

    Args:
        path: The file.
        transcripts: The trajectories.
        graded: Whether some may be of a graded family: only then there are columns for what others have not.
        by_agent: Whether an agent program played them; likewise.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer, schema = io.BytesIO(), _schema(graded=graded, by_agent=by_agent)
    with pq.ParquetWriter(buffer, schema, compression="zstd", compression_level=9) as writer:
        for group in _groups(transcripts):
            rows = [_row(transcript, episode) for transcript in group for episode in transcript.episodes]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    make_folder(path.parent)
    write_bytes(path, buffer.getvalue())


def read(path: Path) -> Iterator[Transcript]:
    """The trajectories of a file, in the order in which they were stored.

    Raises:
        UsageError: It cannot be read, or a later codctl wrote it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            _check(path, file.schema_arrow.metadata or {})
            rows = (row for group in range(file.num_row_groups) for row in file.read_row_group(group).to_pylist())
            yield from _transcripts(rows)
    except (OSError, pa.ArrowException) as error:
        raise UsageError(f"the trajectories cannot be read: {error}", where=str(path)) from error


def of_journal(path: Path) -> Iterator[Transcript]:
    """The trajectories that an evaluation in progress has played so far."""
    found: dict[Unit, Record] = {}
    for line in reader.lines(path):
        with contextlib.suppress(ValueError):  # header and sessions are no records; the last line may be incomplete
            record = reader.check_json(line, Record)
            found[record.unit] = record
    return (transcript for record in found.values() for transcript in _of_record(record))


def of_parts(parts: Sequence[EvalSpec], journal: Journal) -> Iterator[Transcript]:
    """What a journal has of the parts of a suite, in an order that does not depend on when it was played."""
    for spec in parts:
        legs = [(arm, seed) for arm in play_order(spec.arms) for seed in dict.fromkeys(spec.seeds)]
        legs += [(name, spec.seeds[0]) for name in references(families_of(spec))]
        for arm, seed in legs:
            for number in range(spec.packs):
                record = journal.get(Unit(spec.name, arm, seed, number))
                if record is not None:
                    yield from _of_record(record)


def of_step(
    arm: str,
    packs: Sequence[Pack],
    trajectories: Sequence[Trajectory],
    credits_: Sequence[EpisodeCredit],
    chat: Chat,
    rendering: Rendering,
) -> Iterator[Transcript]:
    """What a training step played on these packs, or a look at held-out packs between two steps.

    Args:
        arm: What to call it.
        packs: Those to keep.
        trajectories: In the order (pack, rollout).
        credits_: Of their episodes, flat and in the same order; empty where nothing was learned from them.
        chat: Of the model.
        rendering: Of the prompts.
    """
    numbers = {pack.id: number for number, pack in enumerate(packs)}
    start = 0
    for trajectory in trajectories:
        end = start + len(trajectory.episodes)
        number = numbers.get(trajectory.pack)
        if number is not None:
            episodes = transcribe(trajectory, packs[number], chat, rendering, credits_[start:end])
            yield Transcript("", arm, 0, number, trajectory.pack, trajectory.rollout, tuple(episodes))
        start = end


def _of_record(record: Record) -> Iterator[Transcript]:
    if record.transcript is not None:
        episodes = tuple(unpacked(record.transcript))
        yield Transcript(*record.unit, pack=record.pack_id, rollout=0, episodes=episodes)


def _row(transcript: Transcript, episode: EpisodeTranscript) -> dict[str, Any]:
    values = {**{key: getattr(transcript, key) for key in _HEAD}, **episode.as_dict()}
    return values | {"hint_detail": list(episode.hint_detail.items())}


def _transcripts(rows: Iterable[dict[str, Any]]) -> Iterator[Transcript]:
    """Trajectories from the rows of their episodes, which lie one after the other."""
    for head, group in groupby(rows, key=lambda row: {name: row[name] for name in _HEAD}):
        yield Transcript(**head, episodes=tuple(EpisodeTranscript.of(row) for row in group))


def _groups(transcripts: Iterable[Transcript]) -> Iterator[list[Transcript]]:
    group: list[Transcript] = []
    for transcript in transcripts:
        group.append(transcript)
        if len(group) == _TOGETHER:
            yield group
            group = []
    if group:
        yield group


def _schema(*, graded: bool, by_agent: bool) -> Any:
    import pyarrow as pa

    alias = pa.type_for_alias
    columns = [(name, alias(kind)) for name, kind in _TYPES.items()]
    turn = pa.struct([(name, alias(kind)) for name, kind in _TURN.items()])
    columns += [("specials", pa.list_(pa.string())), ("turns", pa.list_(turn))]
    if graded:
        columns += [("raw_reward", pa.float64()), ("hint_detail", pa.map_(pa.string(), pa.float64()))]
    if by_agent:
        columns.append(("performance", pa.struct([(name, alias(kind)) for name, kind in PERFORMANCE.items()])))
    return pa.schema(columns, metadata={_SCHEMA_KEY: str(SCHEMA)})


def _check(path: Path, metadata: dict[bytes, bytes]) -> None:
    written = metadata.get(_SCHEMA_KEY)
    if written is None:
        raise UsageError("the file holds no trajectories", where=str(path))
    if int(written) > SCHEMA:
        raise UsageError(
            f"a later codctl wrote it (schema {int(written)}, this one reads {SCHEMA})", where=str(path), hint="update"
        )
