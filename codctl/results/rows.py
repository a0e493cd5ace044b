"""Rows of an evaluation: one for each part, arm, sampling seed, pack and position. rows.parquet holds them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from codctl.cod.attempt import Performance
from codctl.cod.trajectory import EpisodeRecord
from codctl.errors import UsageError
from codctl.files import reader

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = "rows.parquet"


@dataclass(frozen=True, slots=True)
class Row:
    """One solve episode, and what became of the update after it.

    Attributes:
        position: In the pack, from 0.
        distractor: Whether it is a distractor.
        success: Whether the task was solved, 0 or 1; None where it was not played, as the next two.
        raw_reward: As the world gave it.
        shaped_reward: Less the turn penalty.
        turns: That it took.
        hint_right: Hidden facts that the hints in force state, as are the next four.
        hint_wrong: Facts that they state wrongly.
        hint_missing: Hidden facts that they do not state.
        hint_knowable: Hidden facts that follow from what was seen.
        hint_knowable_right: Those of them that the hints state.
        format_error: Whether its reply could not be read.
        failed: Why it was not played; empty where it was.
        outcome: How it ended (`codctl.outcomes`).
        update_outcome: How the update ended; None without one.
        replies: That were asked for.
        words: What a server said of it.
        update_words: What a server said of the update.
        hint_detail: Further numbers about the hints in force, by name.
        performance: How an agent program went through it; None, and not in the journal, where none did.
    """

    position: int
    distractor: bool
    success: float | None
    raw_reward: float | None
    shaped_reward: float | None
    turns: int
    hint_right: int
    hint_wrong: int
    hint_missing: int
    hint_knowable: int
    hint_knowable_right: int
    format_error: bool
    failed: str
    outcome: str
    update_outcome: str | None
    replies: int
    words: str
    update_words: str
    hint_detail: Mapping[str, float] = field(default_factory=dict)
    performance: Annotated[Performance | None, Field(exclude_if=lambda value: value is None)] = None

    @property
    def correctness(self) -> float | None:
        """Share of the knowable facts that the hints in force state; None when nothing was knowable."""
        return self.hint_knowable_right / self.hint_knowable if self.hint_knowable else None


def row_of(episode: EpisodeRecord, update: EpisodeRecord | None, *, distractor: bool) -> Row:
    """One solve episode as an evaluation row, with what became of the update that followed it.

    `distractor` tells a distractor from a task of the pack's own world.
    """
    score = episode.hint_score
    return Row(
        position=episode.position,
        distractor=distractor,
        success=None if episode.failed else float(episode.is_solved),
        raw_reward=None if episode.failed else episode.raw_reward,
        shaped_reward=None if episode.failed else episode.shaped_reward,
        turns=episode.turns,
        hint_right=score.right,
        hint_wrong=score.wrong,
        hint_missing=score.missing,
        hint_knowable=score.knowable,
        hint_knowable_right=score.knowable_right,
        format_error=episode.format_error,
        failed=episode.failed,
        outcome=episode.outcome,
        update_outcome=update.outcome if update else None,
        replies=_replies(episode) + (update is not None),
        words=episode.fault.words if episode.fault else "",
        update_words=update.fault.words if update and update.fault else "",
        hint_detail=score.detail,
        performance=episode.performance,
    )


def _replies(episode: EpisodeRecord) -> int:
    """How many were asked for; the last one may never have come."""
    if episode.performance and episode.performance.protocol == "tools":
        return episode.performance.model_calls
    is_missing = episode.fault is not None and episode.fault.kind in ("rejected", "lost")
    return len(episode.turn_ends) + is_missing


@dataclass(frozen=True, slots=True)
class ArmRow:
    """A row with where it belongs; `arm` may also be a reference policy, `number` is that of its pack."""

    arm: str
    seed: int
    pack: str
    number: int
    row: Row


_COLUMNS = {
    "part": "string",
    "arm": "string",
    "seed": "int64",
    "pack": "string",
    "number": "int64",
    "position": "int64",
    "distractor": "bool",
    "success": "float64",
    "raw_reward": "float64",
    "shaped_reward": "float64",
    "turns": "int64",
    **{f"hint_{what}": "int64" for what in ("right", "wrong", "missing", "knowable", "knowable_right")},
    "format_error": "bool",
    "failed": "string",
    "outcome": "string",
    "update_outcome": "string",
    "replies": "int64",
    "words": "string",
    "update_words": "string",
}
_DETAIL = "hint_detail"  # a map from names to numbers
# What an agent program adds, a column for each field of `Performance`.
PERFORMANCE = {
    **dict.fromkeys(("agent", "version", "protocol", "ended"), "string"),
    **dict.fromkeys(("model_calls", "tool_calls"), "int64"),
    **dict.fromkeys(("wall_s", "peak_mb"), "float64"),
    **dict.fromkeys(("context", "session"), "string"),
}
_AGENT = "agent_"  # before those names that say too little alone
_ALONE = ("version", "ended", "context", "session")


class RowsWriter:
    """Rows as Parquet, part by part, so that those of one part are all that memory holds as Python objects.

    Args:
        by_agent: Whether an agent program played: only then there are columns for what it adds.
    """

    def __init__(self, *, by_agent: bool = False) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._arrow = pa
        kinds = {**_COLUMNS, **({_of_agent(name): kind for name, kind in PERFORMANCE.items()} if by_agent else {})}
        columns = [(name, pa.type_for_alias(kind)) for name, kind in kinds.items()]
        self._schema = pa.schema([*columns, (_DETAIL, pa.map_(pa.string(), pa.float64()))])
        self._buffer = io.BytesIO()
        self._writer = pq.ParquetWriter(self._buffer, self._schema, compression="zstd")

    def add(self, part: str, rows: Iterable[ArmRow]) -> None:
        flat = [_flat(part, one) for one in rows]
        self._writer.write_table(self._arrow.Table.from_pylist(flat, schema=self._schema))

    def close(self) -> bytes:
        self._writer.close()
        return self._buffer.getvalue()


def read_rows(folder: Path, part: str, columns: Sequence[str]) -> pa.Table:
    """Rows of one part of an evaluation, of the pack's own world.

    Args:
        folder: Of the evaluation.
        part: Its name.
        columns: Which columns; without nulls but for `success` and `raw_reward`.

    Raises:
        UsageError: They cannot be read.
    """
    import pyarrow.parquet as pq

    path = folder / ROWS
    try:
        with reader.open_file(path) as file:
            mine = [("part", "==", part), ("distractor", "==", False)]
            table = pq.read_table(file, columns=list(columns), filters=mine)
        for name in columns:
            if str(table[name].type) != _TYPES.get(_COLUMNS[name], _COLUMNS[name]):
                raise ValueError(f"column {name} is of type {table[name].type}")
            if name not in ("success", "raw_reward") and table[name].null_count:
                raise ValueError(f"column {name} has gaps")
    except (OSError, ValueError, KeyError, NotImplementedError, TypeError) as error:
        raise UsageError(f"its rows cannot be read: {error}", where=str(path)) from error
    return table


_TYPES = {"float64": "double"}


def _flat(part: str, one: ArmRow) -> dict[str, Any]:
    about = {"part": part, "arm": one.arm, "seed": one.seed, "pack": one.pack, "number": one.number}
    row = asdict(one.row)
    performance = row.pop("performance") or {}
    played = {_of_agent(name): value for name, value in performance.items()}
    return about | row | played | {_DETAIL: list(one.row.hint_detail.items())}


def _of_agent(name: str) -> str:
    return f"{_AGENT}{name}" if name in _ALONE else name
