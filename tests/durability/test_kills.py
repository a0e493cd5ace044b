"""SIGKILL at random moments: the same end, bit for bit. `make test-kill` does it a hundred times."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

from tests.durability import small_run
from tests.durability.kills import Harness
from tests.durability.processes import Processes


def test_killed_at_random_moments_a_run_ends_as_if_nothing_had_happened(
    server: Processes, untouched: Path, expected: dict[str, Any], tmp_path: Path
) -> None:
    said: list[str] = []
    harness = Harness(server, tmp_path, said.append)
    took = json.loads((small_run.folder(untouched) / "attempts" / "001" / "attempt.json").read_text())["seconds"]
    harness.adopt(untouched, expected, took)
    harness.killed(1, 4, Random(4))
    assert not harness.tally.problems, said
    assert harness.tally.kills >= 1, said
    assert harness.tally.identical == 1
