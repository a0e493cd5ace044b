"""Stored evaluations as rows of a list."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from codctl import quantities
from codctl.cli import _output
from codctl.results.about import subject_title

if TYPE_CHECKING:
    from codctl.runs.evaluations import StoredEvaluation


def summary(one: StoredEvaluation) -> dict[str, Any]:
    """What a list says about an evaluation."""
    subject, parts = one.subject, (one.result or one.about).get("parts", [])
    return {
        "id": one.id,
        "name": one.name,
        "path": str(one.path),
        "model": subject_title(subject) if subject else None,
        "subject": subject,
        "suite": one.about.get("suite"),
        "worlds": list(dict.fromkeys(f"{part.get('family')} {part.get('preset')}" for part in parts)),
        "packs": max((part.get("packs", 0) for part in parts), default=None),
        "success": [_ends(part, curve=one.is_curve) for part in parts if "arms" in part],
        "state": one.state,
        "problem": one.problem,
        "played": one.played,
        "trajectories": one.about.get("trajectories"),
        "changed": one.changed_s,
    }


def listed(found: Sequence[Mapping[str, Any]]) -> str:
    headers = ["id", "model", "suite", "worlds", "packs", "first → last", "age", "state"]
    return _output.table(headers, [_row(one) for one in found])


def _row(one: Mapping[str, Any]) -> list[object]:
    success = ", ".join(_success(ends) for ends in one["success"]) or "–"
    return [
        one["id"],
        one["model"] or one["name"],
        one["suite"] or "–",
        ", ".join(one["worlds"]) or "–",
        one["packs"],
        success,
        _output.ago(max(0.0, time.time() - one["changed"])),
        _state(one),
    ]


def _state(one: Mapping[str, Any]) -> str:
    if one["problem"]:
        return f"damaged: {one['problem']}"
    total = one["trajectories"]
    is_partly = one["state"] in ("partly", "running") and not one["success"] and total
    return f"{one['state']}, {quantities.percent(one['played'] / total)}" if is_partly else str(one["state"])


def _success(ends: Sequence[float]) -> str:
    return " → ".join(quantities.share(value) for value in ends) or "–"


def _ends(part: Mapping[str, Any], *, curve: bool) -> list[float]:
    """Success of the first arm at the first and the last position; over several models, of the last of them."""
    arm: Any = next(iter(part["arms"].values()), None)
    points = (arm[-1] if curve else arm)["success"] if arm else []
    return [points[0]["mean"], points[-1]["mean"]] if points else []
