"""The manifest of a run: what was started, how, and how each attempt ended. Stdlib only."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import codctl
from codctl.errors import UsageError
from codctl.runs import atomic, machine

SCHEMA = 1


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def new(*, name: str, recipe: str, command: Sequence[str], digest: str) -> dict[str, Any]:
    """The manifest of a run that nobody has worked on yet."""
    return {
        "schema": SCHEMA,
        "name": name,
        "created": now(),
        "recipe": recipe,
        "command": list(command),
        "digest": digest,
        "codctl_version": codctl.__version__,
        "machine": machine.describe(),
        "status": "interrupted",  # until its first attempt starts there is nothing running
        "attempts": [],
    }


def read(path: Path) -> dict[str, Any]:
    """Load a manifest.

    Raises:
        UsageError: It is missing, not JSON, or of another schema.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError("not a run directory: manifest.json is missing", where=str(path.parent)) from None
    except (OSError, ValueError) as error:
        raise UsageError(f"the manifest cannot be read: {error}", where=str(path)) from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        found = content.get("schema") if isinstance(content, dict) else None
        raise UsageError(f"the manifest has schema {found}, this codctl reads {SCHEMA}", where=str(path))
    return content


def begin_attempt(path: Path) -> int:
    """Record that this process works on the run; earlier attempts that never ended are recorded as died."""
    content = read(path)
    for attempt in content["attempts"]:
        if attempt["outcome"] == "running":
            attempt["outcome"] = "died"
    number = len(content["attempts"]) + 1
    content["attempts"].append(
        {
            "number": number,
            "started": now(),
            "ended": None,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "outcome": "running",
        }
    )
    content["status"] = "running"
    atomic.write_json(path, content)
    return number


def end_attempt(path: Path, outcome: str) -> None:
    """Record how the last attempt ended: finished, failed or interrupted."""
    content = read(path)
    content["attempts"][-1] |= {"ended": now(), "outcome": outcome}
    content["status"] = outcome
    atomic.write_json(path, content)
