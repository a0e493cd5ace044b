"""A small file of invented dialogues."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def dialogue(number: int = 0, *, stop: bool = False, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"My head hurts ({number})."}]
    if stop:
        messages += [{"role": "assistant", "content": "How bad is it?"}, {"role": "user", "content": "Quite bad."}]
    row = {
        "cid": f"{number}-{int(stop)}",
        "session_id": number,
        "diagn": ("migraine", "cold", "strain", "stress")[number % 4],
        "messages": messages,
        "decision_truth": "stop" if stop else "continue",
        "info_truth": "" if stop else "Severity, location of the pain",
    }
    return row | more


def write(path: Path, rows: list[Any] | None = None) -> Path:
    drawn = [dialogue(n, stop=stop) for n in range(60) for stop in (False, True)]
    lines = [row if isinstance(row, str) else json.dumps(row) for row in (drawn if rows is None else rows)]
    path.write_text("\n".join(lines) + "\n")
    return path
