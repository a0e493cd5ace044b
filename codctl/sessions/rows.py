"""Sessions as rows of an evaluation: the columns of every evaluation's rows, and what only sessions have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codctl.sessions.session import Session

FILE = "rows.parquet"
ARM = "imported"
# Agent, version, end and calls are called as in rows of `codctl eval --agent`.
_OWN = {
    "session": "string",
    "source": "string",
    "agent": "string",
    "agent_version": "string",
    "model": "string",
    "agent_ended": "string",
    "model_calls": "int64",
    "tool_calls": "int64",
    "prompt_tokens": "int64",
    "completion_tokens": "int64",
    "reward_from": "string",
    "tokens": "string",
    "notes": "string",
}
# As rows of evaluations have them (`codctl.results.rows`).
_SHARED = {
    "part": "string",
    "arm": "string",
    "seed": "int64",
    "pack": "string",
    "number": "int64",
    "position": "int64",
    "success": "float64",
    "raw_reward": "float64",
    "turns": "int64",
    "failed": "string",
    "outcome": "string",
    "words": "string",
}
_FAILED = ("model_error", "timeout", "crashed")


def write(path: Path, sessions: Sequence[Session]) -> None:
    """A row for each session, in order. `success` and `raw_reward` are null where there is no reward."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in {**_SHARED, **_OWN}.items()])
    rows = [_row(session, number) for number, session in enumerate(sessions)]
    pq.write_table(pa.Table.from_pylist(rows, schema), path, compression="zstd")


def _row(session: Session, number: int) -> dict[str, Any]:
    reward, counted = session.reward, session.counted
    is_failed = reward is None and session.ended in _FAILED
    return {
        "part": "sessions",
        "arm": ARM,
        "seed": 0,
        "pack": session.id,
        "number": number,
        "position": 0,
        "success": None if reward is None else float(reward > 0),
        "raw_reward": reward,
        "turns": session.tool_calls,
        "failed": (session.problem or session.ended) if is_failed else "",
        "outcome": _outcome(reward),
        "words": session.problem,
        "session": session.id,
        "source": session.source,
        "agent": session.agent,
        "agent_version": session.version,
        "model": session.model,
        "agent_ended": session.ended,
        "model_calls": len(session.replies),
        "tool_calls": session.tool_calls,
        **vars(counted),
        "reward_from": session.reward_from,
        "tokens": session.tokens,
        "notes": "; ".join(session.notes),
    }


def _outcome(reward: float | None) -> str:
    if reward is None:
        return "no_reward"
    return "solved" if reward > 0 else "unsolved"
