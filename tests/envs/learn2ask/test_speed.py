"""Worlds are no bottleneck beside a model."""

from __future__ import annotations

import time

from codctl.envs.registry import get_family


def test_five_thousand_turns_a_second() -> None:
    slots = [slot for i in range(100) for slot in get_family("learn2ask").pack("train", i, 8, "hard").slots]
    started_s = time.process_time()
    for slot in slots:
        slot.begin("compact").act("severity")
    assert len(slots) / (time.process_time() - started_s) > 5000
