"""Stored rollouts: what was played, token for token, with its credit."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from codctl.cod.credit import credit_pack
from codctl.config.schema import CreditConfig
from codctl.runs.layout import Layout
from codctl.train.rollout_store import read_credit, read_rollouts, write_rollouts
from tests.cod.test_rollout import packs, play, scripted


def test_stored_rollouts_are_read_back_token_for_token(tmp_path: Path) -> None:
    group = play(scripted("random", "error", 0.1), packs(1, 4), 6)
    credits_ = credit_pack(group, CreditConfig()).of(group, learned=9)
    path = Layout(tmp_path).rollouts / "step-000001.parquet"
    write_rollouts(path, group, credits_)
    types = {field.name: str(field.type) for field in pq.read_schema(path)}
    assert types["ids"] == "list<element: int32>"
    assert types["loss_mask"] == "list<element: bool>"
    assert types["logprobs"] == "list<element: float>"
    rows = read_rollouts(path)
    episodes = [(t, e) for t in group for e in t.episodes]
    assert len(rows) == len(episodes)
    for row, (t, e), credit in zip(rows, episodes, credits_, strict=True):
        assert (row["pack"], row["rollout"], row["kind"], row["position"]) == (t.pack, t.rollout, e.kind, e.position)
        for name in ("ids", "loss_mask", "logprobs"):
            assert row[name] == getattr(e, name).tolist()
        for name in ("turn_ends", "hints", "feedback", "failed", "turns"):
            assert row[name] == getattr(e, name)
        assert tuple(row["replies"]) == e.replies
        assert tuple(row["observations"]) == e.observations
        assert row["hint_right"] == e.hint_score.right
        stored = (row["return"], row["baseline"], row["advantage"], row["staleness"])
        assert stored == pytest.approx(astuple(credit), nan_ok=True)
    table = read_credit(tmp_path)
    assert (table.step, table.packs, len(table.rows)) == (1, (group[0].pack,), len(rows))
    assert sum(row.credit.advantage for row in table.rows) == pytest.approx(sum(c.advantage for c in credits_))
