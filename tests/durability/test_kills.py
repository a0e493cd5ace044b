"""SIGKILL at random moments: the same end, bit for bit. `make test-kill` does it a hundred times."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from tests.durability import kills


def test_killed_at_random_moments_a_run_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    options = argparse.Namespace(kills=5, seed=3, per_run=5, no_fresh=True, seconds=math.inf)
    said: list[str] = []
    tally = kills.run_kills(options, tmp_path, said.append)
    assert not tally.problems, said
    assert tally.kills == 5
    assert tally.identical == tally.runs
