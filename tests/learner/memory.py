"""How much memory tensors take at most."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path

from torch.profiler import ProfilerActivity, profile


@contextmanager
def peak_memory(trace: Path) -> Iterator[list[int]]:
    """Largest sum of bytes allocated within the block; the list that it gives holds it when the block is left."""
    found: list[int] = []
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        yield found
    profiler.export_chrome_trace(str(trace))
    events = [event for event in json.loads(trace.read_text())["traceEvents"] if event.get("name") == "[memory]"]
    events.sort(key=lambda event: event["ts"])
    found.append(max(accumulate(event["args"]["Bytes"] for event in events)))
