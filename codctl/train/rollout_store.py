"""The rollouts that a training stores, token for token, and their credit as a table: pack × position × rollout."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from codctl.cod.conversation import Chat
from codctl.cod.credit import EpisodeCredit
from codctl.cod.trajectory import DTYPES, EpisodeRecord, Trajectory
from codctl.config.schema import Config
from codctl.envs.base import Pack
from codctl.errors import UsageError
from codctl.files import reader
from codctl.results import trajectory_file
from codctl.runs.directory import RunDirectory
from codctl.runs.layout import Layout

_MOST_NAMES = 6


def write_rollouts(path: Path, trajectories: Iterable[Trajectory], credits_: Sequence[EpisodeCredit]) -> None:
    """Store episodes in a Parquet file, one a row, all of them or none.

    Args:
        path: File to write.
        trajectories: In the order in which `credits_` has their episodes.
        credits_: Of each episode.
    """
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    from codctl.files.atomic import make_folder, write_bytes

    played = [(trajectory, episode) for trajectory in trajectories for episode in trajectory.episodes]
    rows = [_row(*one, credit) for one, credit in zip(played, credits_, strict=True)]
    table = pa.Table.from_pylist(rows)
    for name, dtype in DTYPES.items():
        column = pa.array([getattr(episode, name) for _, episode in played], pa.list_(pa.from_numpy_dtype(dtype)))
        table = table.append_column(name, column)
    details = [list(episode.hint_score.detail.items()) for _, episode in played]
    table = table.append_column("hint_detail", pa.array(details, pa.map_(pa.string(), pa.float64())))
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    make_folder(path.parent)
    write_bytes(path, buffer.getvalue())


def write_transcripts(
    run: RunDirectory,
    config: Config,
    chat: Chat,
    name: str,
    step: int,
    packs: Sequence[Pack],
    trajectories: Sequence[Trajectory],
    credits_: Sequence[EpisodeCredit] = (),
) -> None:
    """Store what was said, for `codctl view`.

    Args:
        run: The run.
        config: Recipe.
        chat: Of the model.
        name: `training` or `validation`.
        step: When.
        packs: What was played.
        trajectories: In the order (pack, rollout).
        credits_: Of their episodes, where something was learned from them.
    """
    path = run.training / trajectory_file.FOLDER / f"{name}-{step:06d}.parquet"
    arm = trajectory_file.TRAINING if credits_ else "own"
    stored = packs[: config.tracking.trajectory_packs]
    found = trajectory_file.of_step(arm, stored, trajectories, credits_, chat, config.world.rendering)
    graded = any(slot.family.graded for pack in stored for slot in pack.slots)
    trajectory_file.write(path, found, graded=graded)


def read_rollouts(path: Path) -> list[dict[str, Any]]:
    """The rows that `write_rollouts` stored.

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


def _row(trajectory: Trajectory, episode: EpisodeRecord, credit: EpisodeCredit) -> dict[str, Any]:
    row = {one.name: getattr(episode, one.name) for one in fields(episode) if one.name not in DTYPES}
    score = asdict(row.pop("hint_score"))
    del score["detail"]
    row |= {f"hint_{key}": value for key, value in score.items()}
    row["fault"] = episode.fault.kind if episode.fault else ""
    row |= {"pack": trajectory.pack, "rollout": trajectory.rollout, **_revision(trajectory, episode)}
    return row | {_COLUMNS.get(key, key): value for key, value in asdict(credit).items()}


_COLUMNS = {"return_": "return"}


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


@dataclass(frozen=True)
class CreditRow:
    """An episode of the table. `hint` is what a solve read, or what an update wrote."""

    pack: str
    position: int
    kind: str
    rollout: int
    reward: float
    credit: EpisodeCredit
    hint: str

    def as_dict(self) -> dict[str, Any]:
        credit = self.credit
        return {
            "pack": self.pack,
            "position": self.position,
            "kind": self.kind,
            "rollout": self.rollout,
            "reward": self.reward,
            "baseline": credit.baseline,
            "advantage": credit.advantage,
            "hint": self.hint,
            "return": credit.return_,
        }


@dataclass(frozen=True)
class CreditTable:
    """The credit of one stored step."""

    step: int
    path: Path
    packs: tuple[str, ...]
    rows: tuple[CreditRow, ...]

    def as_dict(self) -> dict[str, Any]:
        episodes = [row.as_dict() for row in self.rows]
        return {"step": self.step, "path": str(self.path), "packs": list(self.packs), "episodes": episodes}


def read_credit(run: Path, *, step: int | None = None, pack: str | None = None) -> CreditTable:
    """Read the credit of a run's stored rollouts.

    Args:
        run: The run's folder.
        step: Which stored step; the last by default.
        pack: Only this pack: its id, or its number.

    Raises:
        UsageError: Nothing was stored, or not this step or pack.
    """
    folder = Layout(run).rollouts
    stored = {int(path.stem.removeprefix("step-")): path for path in folder.glob("step-*.parquet")}
    if not stored:
        raise UsageError("the run has stored no rollouts yet", where=str(folder), hint="codctl runs list")
    chosen = max(stored) if step is None else step
    if chosen not in stored:
        known = _listed([str(number) for number in sorted(stored)])
        raise UsageError(f"no rollouts were stored for step {chosen}; stored: {known}", where=str(folder))
    rows = read_rollouts(stored[chosen])
    packs = tuple(dict.fromkeys(str(row["pack"]) for row in rows))
    if pack is not None:
        wanted = [name for name in packs if name == pack or name.rpartition("/")[2] == pack]
        if not wanted:
            raise UsageError(f"step {chosen} has no pack {pack!r}; it has {_listed(packs)}", where=str(stored[chosen]))
        rows = [row for row in rows if row["pack"] in wanted]
    order = {name: number for number, name in enumerate(packs)}
    kinds = {"solve": 0, "update": 1}
    found = [_credit_row(row) for row in rows]
    found.sort(key=lambda e: (order[e.pack], e.position, kinds.get(e.kind, 2), e.rollout))
    return CreditTable(chosen, stored[chosen], packs, tuple(found))


def _listed(names: Sequence[str]) -> str:
    """A few names; of more, both ends and how many there are."""
    if len(names) <= _MOST_NAMES:
        return ", ".join(names)
    return f"{', '.join(names[:3])}, …, {names[-1]} ({len(names)} in all)"


def _credit_row(row: dict[str, Any]) -> CreditRow:
    return CreditRow(
        pack=row["pack"],
        position=row["position"],
        kind=row["kind"],
        rollout=row["rollout"],
        reward=row["shaped_reward"],
        credit=EpisodeCredit(**{one.name: row[_COLUMNS.get(one.name, one.name)] for one in fields(EpisodeCredit)}),
        hint=row["hints"],
    )
