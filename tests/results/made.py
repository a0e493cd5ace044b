"""Results and rows that were made up, with only what a test is about named."""

from __future__ import annotations

from typing import Any

from codctl.results.rows import Row
from codctl.runs.eval_result import EvalResult, PartResult, of

HEAD = {
    "schema": 2,
    "suite": "curve",
    "digest": "0123456789abcdef",
    "subject": {"kind": "run", "name": "tiny", "checkpoint": "final", "step": 2, "steps": 2},
    "folder": "f",
    "command": ["codctl", "eval"],
    "codctl_version": "0",
    "machine": {},
    "seconds": 1.0,
}
PART = {"name": "curve/frozen_lake-tiny", "family": "frozen_lake", "preset": "tiny", "packs": 2, "length": 2}


def part(**changes: Any) -> PartResult:
    """A part from JSON; without arms unless they are given."""
    return of(PartResult, {**PART, **changes})


def result_json(*parts: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """What result.json holds."""
    return {**HEAD, "parts": [{**PART, **one} for one in parts], **changes}


def result(*parts: dict[str, Any], **changes: Any) -> EvalResult:
    return of(EvalResult, result_json(*parts, **changes))


def curve(*means: float | None, width: float = 0.1) -> list[dict[str, float]]:
    """Points by position; none where the mean is None."""
    known = [(position, mean) for position, mean in enumerate(means) if mean is not None]
    return [{"position": place, "mean": mean, "low": mean - width, "high": mean + width} for place, mean in known]


def row(**changes: Any) -> Row:
    """A task that was solved in one turn."""
    hints = dict.fromkeys(("hint_right", "hint_wrong", "hint_missing", "hint_knowable", "hint_knowable_right"), 0)
    rewards = {"success": 1.0, "raw_reward": 1.0, "shaped_reward": 1.0}
    about: dict[str, Any] = {"position": 0, "distractor": False, "turns": 1, **rewards}
    ended = {"format_error": False, "failed": "", "outcome": "solved", "update_outcome": None}
    replies = {"replies": 1, "words": "", "update_words": ""}
    return Row(**{**about, **hints, **ended, **replies, **changes})
