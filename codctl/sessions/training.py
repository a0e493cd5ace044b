"""Training rows of sessions whose replies are known token by token: ids and log-probs as sampled, none made anew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from codctl.cod.trajectory import TokenRecord
from codctl.sessions.session import Session

FILE = "training.parquet"


@dataclass(frozen=True, eq=False)
class TrainingRow(TokenRecord):
    """One row: as much of a conversation as grew only at its end.

    Attributes:
        session: Id of the session.
        first: Number of its first reply in the session, from 0.
        replies: That it holds.
        reward: Of the session; None where nobody has given one.
    """

    session: str
    first: int
    replies: int
    reward: float | None


def training_rows(session: Session) -> Iterator[TrainingRow]:
    """The rows of a session; none unless all its replies are exact.

    A reply whose prompt begins with the row so far continues it, so an episode is one row, as in codctl's own training.
    """
    if session.tokens == "none":
        return
    row: _Growing | None = None
    for number, reply in enumerate(session.replies):
        tokens = reply.tokens
        assert tokens is not None
        prompt = list(tokens.prompt_ids)
        if row is None or prompt[: len(row.ids)] != row.ids:
            if row:
                yield row.finished(session)
            row = _Growing(number)
        row.add(prompt[len(row.ids) :], sampled=False, logprobs=[0.0] * (len(prompt) - len(row.ids)))
        row.add(list(tokens.ids), sampled=True, logprobs=list(tokens.logprobs))
        row.replies += 1
    if row:
        yield row.finished(session)


class _Growing:
    def __init__(self, first: int) -> None:
        self.first, self.replies = first, 0
        self.ids: list[int] = []
        self._mask: list[bool] = []
        self._logprobs: list[float] = []

    def add(self, ids: list[int], *, sampled: bool, logprobs: list[float]) -> None:
        self.ids += ids
        self._mask += [sampled] * len(ids)
        self._logprobs += logprobs

    def finished(self, session: Session) -> TrainingRow:
        return TrainingRow(
            ids=self.ids,  # type: ignore[arg-type]  # arrays are made of them
            loss_mask=self._mask,  # type: ignore[arg-type]
            logprobs=self._logprobs,  # type: ignore[arg-type]
            session=session.id,
            first=self.first,
            replies=self.replies,
            reward=session.reward,
        )


def write(path: Path, rows: list[TrainingRow]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            ("session", pa.string()),
            ("first", pa.int32()),
            ("replies", pa.int32()),
            ("reward", pa.float64()),
            ("ids", pa.list_(pa.int32())),
            ("loss_mask", pa.list_(pa.bool_())),
            ("logprobs", pa.list_(pa.float32())),
        ]
    )
    plain = [{name: getattr(row, name) for name in schema.names} for row in rows]
    pq.write_table(pa.Table.from_pylist(plain, schema), path, compression="zstd")


def read(path: Path) -> list[TrainingRow]:
    """The rows of a file that `write` made."""
    import pyarrow.parquet as pq

    return [TrainingRow(**row) for row in pq.read_table(path).to_pylist()]
