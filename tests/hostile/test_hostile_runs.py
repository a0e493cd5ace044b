"""Whatever a run's folder says, codctl touches nothing outside it, and every command ends in good order.

A few folders are played with every change of the tests; `CODCTL_HOSTILE_FOLDERS=N` plays N (`make fuzz`), and
`CODCTL_HOSTILE_SEED` chooses others.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.hostile import commands, mutations
from tests.hostile.player import Plan

FOLDERS = int(os.environ.get("CODCTL_HOSTILE_FOLDERS", "2"))
SEED = int(os.environ.get("CODCTL_HOSTILE_SEED", "0"))
PLAYERS = min(2, FOLDERS)
PLAYER = Path(__file__).with_name("player.py")
_TIMEOUT_S = 60 + 60 * FOLDERS


def test_every_command_that_takes_runs_is_played() -> None:
    assert set(commands.LINES) == commands.reading()


def test_hostile_folders(source: Path, tmp_path: Path) -> None:
    cases = mutations.choose(source / "runs", FOLDERS, SEED)
    plans = [Plan(source, tmp_path / str(i), cases[i::PLAYERS], tmp_path / f"{i}.jsonl") for i in range(PLAYERS)]
    players = []
    for i, plan in enumerate(plans):
        plan.write(tmp_path / f"{i}.json")
        players.append(subprocess.Popen([sys.executable, str(PLAYER), str(tmp_path / f"{i}.json")]))
    assert [player.wait(_TIMEOUT_S) for player in players] == [0] * PLAYERS
    lines = [json.loads(line) for plan in plans for line in plan.faults.read_text().splitlines()]
    assert len({line["case"] for line in lines if "seconds" in line}) == len(cases) == FOLDERS
    faults = [line for line in lines if "fault" in line]
    kinds = Counter(line["fault"][:80] for line in faults)
    assert not faults, "\n".join([*(f"{number} × {kind}" for kind, number in kinds.most_common(30)), str(faults[:5])])
