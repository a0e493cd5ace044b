"""Trajectories as they are kept: every token, mask and log-prob of every episode, and every revision of the hints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from codctl.cod.context import Revision
from codctl.envs.base import HintScore
from codctl.errors import UsageError
from codctl.files import reader
from codctl.outcomes import ReplyFault

Kind = Literal["solve", "update"]


@dataclass(frozen=True)
class EpisodeRecord:
    """One solve or update episode.

    Attributes:
        kind: `solve` at this position, or the `update` that follows it (and writes the hints for position + 1).
        ids: Token ids, prompt and replies.
        loss_mask: 1 for sampled tokens.
        logprobs: Sampling log-probs, 0 where nothing was sampled.
        turn_ends: Length of `ids` after each reply.
        raw_reward: Solve: 0 or 1. Update: 0, or the (negative) format reward.
        shaped_reward: Solve: the raw reward less the turn penalty. Update: as raw.
        turns: Replies used.
        hints: Solve: the hints in force. Update: the hints it wrote (after a failure: those now in force).
        hint_score: Of `hints`, against the truth and what was seen before this position (update: up to it).
        feedback: What the environment or the parser said at the end.
        format_error: Whether a reply could not be read.
        failed: The engine failed or took too long: no loss weight, no reward, no place in the group.
        weight_version: Of the engine, when the last reply was sampled.
        fault: What was wrong with the reply that ended the episode, where it could not be read or did not come.
        outcome: How it ended: one of `codctl.outcomes.SOLVE_OUTCOMES` or of its family's `losses`; of an update one of
            `codctl.outcomes.UPDATE_OUTCOMES`.
        replies: Text of each reply.
        observations: What the first prompt and each later one told the model.
        actions: Solve: what was read from each reply that could be read.
        rendered: Each turn's prompt was rendered anew: up to each of `turn_ends` reaches a row of its own.
    """

    kind: Kind
    position: int
    ids: list[int]
    loss_mask: list[int]
    logprobs: list[float]
    turn_ends: list[int]
    raw_reward: float
    shaped_reward: float
    turns: int
    hints: str
    hint_score: HintScore
    feedback: str = ""
    format_error: bool = False
    failed: str = ""
    weight_version: int = 0
    replies: tuple[str, ...] = ()
    observations: tuple[str, ...] = ()
    fault: ReplyFault | None = None
    outcome: str = ""
    actions: tuple[str, ...] = ()
    rendered: bool = False

    @property
    def rows(self) -> list[slice]:
        """The training rows in `ids`: one for the episode, or one for each turn whose prompt was rendered anew."""
        if not self.rendered:
            return [slice(0, len(self.ids))]
        return [slice(begin, end) for begin, end in pairwise((0, *self.turn_ends))]


@dataclass(frozen=True)
class Trajectory:
    """One rollout through a pack: S solve and S−1 update episodes, in order."""

    pack: str
    rollout: int
    episodes: tuple[EpisodeRecord, ...]
    revisions: tuple[Revision, ...] = field(default=(Revision(),))

    def of(self, kind: Kind) -> list[EpisodeRecord]:
        return [episode for episode in self.episodes if episode.kind == kind]


def write_parquet(path: Path, trajectories: Iterable[Trajectory], advantages: Sequence[dict[str, float]]) -> None:
    """Store episodes, one a row, whole or not at all.

    Args:
        path: File to write.
        trajectories: In the order in which `advantages` has their episodes.
        advantages: For each episode `return`, `baseline` and `advantage`.
    """
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    from codctl.files.atomic import make_folder, write_bytes

    rows: list[dict[str, Any]] = []
    for trajectory in trajectories:
        for episode in trajectory.episodes:
            row = asdict(episode)
            score = row.pop("hint_score")
            row.update({f"hint_{key}": value for key, value in score.items()})
            row["fault"] = episode.fault.kind if episode.fault else ""
            row.update(pack=trajectory.pack, rollout=trajectory.rollout, **_revision(trajectory, episode))
            rows.append(row)
    for row, credit in zip(rows, advantages, strict=True):
        row.update(credit)
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer, compression="zstd")
    make_folder(path.parent)
    write_bytes(path, buffer.getvalue())


def _revision(trajectory: Trajectory, episode: EpisodeRecord) -> dict[str, Any]:
    """The revision that an update wrote, or that a solve read (None where hints came from elsewhere)."""
    number = episode.position + (episode.kind == "update")
    if number >= len(trajectory.revisions):
        return {"revision": None, "revision_parent": None, "revision_tokens": None, "revision_parsed": None}
    revision = trajectory.revisions[number]
    return {
        "revision": revision.number,
        "revision_parent": revision.parent,
        "revision_tokens": revision.tokens,
        "revision_parsed": revision.parsed,
    }


def read_parquet(path: Path) -> list[dict[str, Any]]:
    """The rows that `write_parquet` stored.

    Raises:
        UsageError: They cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with reader.open_file(path) as file:
            rows: list[dict[str, Any]] = pq.read_table(file).to_pylist()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise UsageError(f"the trajectories cannot be read: {error}", where=str(path)) from error
    return rows
