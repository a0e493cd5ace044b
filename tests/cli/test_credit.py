"""What `codctl credit` shows: packs first, then the hints at both ends, and nothing that a terminal cannot show."""

from __future__ import annotations

from pathlib import Path

from codctl.cli import credit as credit_command
from codctl.cod.credit import EpisodeCredit
from codctl.train.rollout_store import CreditRow, CreditTable


def _table() -> CreditTable:
    rows = []
    for pack in ("lake/tiny/train/7", "lake/tiny/train/8"):
        for rollout in range(2):
            for place, reward in enumerate((0.0, 0.004, 0.9)):
                rows.append(
                    CreditRow(pack, place, "solve", rollout, reward, EpisodeCredit(0.5, 0.4, 0.1), "old\x1b[31m")
                )
            credit = EpisodeCredit(0.5, 0.5, 0.25 if rollout else -0.25)
            rows.append(CreditRow(pack, 0, "update", rollout, 0.0, credit, f"up=\ufffd\ufffd {pack[-1]}"))
    return CreditTable(100, Path("step.parquet"), ("lake/tiny/train/7", "lake/tiny/train/8"), tuple(rows))


def test_a_line_for_each_pack_and_the_hints_at_both_ends() -> None:
    text = credit_command.summary(_table(), "tiny")
    lines = text.splitlines()
    assert lines[0] == "step 100, 2 packs"
    assert lines[3].split() == ["lake/tiny/train/7", "2", "0.00", "0.004", "0.90", "0.30", "0.14"]
    most, least = text.split("hints with the most credit\n")[1].split("hints with the least credit\n")
    assert "1        1  +0.25      up=<2 undecodable> 7" in most
    assert "-0.25" not in most
    assert "1        0  -0.25      up=<2 undecodable> 8" in least
    assert lines[-1] == "one pack in full: codctl credit tiny --step 100 --pack 7"


def test_one_pack_in_full() -> None:
    text = credit_command.in_full(_table())
    assert "position  kind    rollout  reward  return  baseline  advantage  hint" in text
    assert "       1  solve         0  0.00    0.50    0.40      +0.10      old\\x1b[31m" in text
    assert "       3  solve         1  0.90" in text
    assert "\x1b[3" not in text
