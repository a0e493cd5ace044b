"""What stands at the top of every page: when, which model, which seed, which code, on what machine, by what command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

_COMMIT = 10  # characters that tell one commit from another


@dataclass(frozen=True)
class Top:
    items: Sequence[str]
    command: str


def top(*said: str, version: str, command: str, machine: Mapping[str, Any] | None = None) -> Top:
    """The lines under a page's title.

    Args:
        said: What the page itself knows: step, seeds.
        version: Of codctl.
        command: That made the results.
        machine: As `codctl.runs.machine` describes it.
    """
    commit = (machine or {}).get("commit", "")
    code = f"codctl {version}" + (f", commit {commit[:_COMMIT]}" if commit else "")
    written = f"page written {moment(datetime.now(UTC).isoformat())}"
    return Top([*filter(None, said), code, *([_machine(machine)] if machine else []), written], command)


def moment(stamp: str) -> str:
    """A time as people write it: 2026-11-27 16:58 UTC."""
    try:
        return f"{datetime.fromisoformat(stamp).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except ValueError:
        return stamp


def _machine(machine: Mapping[str, Any]) -> str:
    gpus = machine.get("gpus") or []
    shown = [f"{gpus.count(gpu)} × {gpu}" for gpu in dict.fromkeys(gpus)]
    return ", ".join([f"{machine.get('cpu', '')}, {machine.get('cores', '?')} cores", *shown])
