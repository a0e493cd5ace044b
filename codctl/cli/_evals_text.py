"""Stored evaluations as rows of a list."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from codctl import quantities
from codctl.cli import _output

if TYPE_CHECKING:
    from codctl.runs.eval_result import Curve, PartHead
    from codctl.runs.evaluations import StoredEvaluation


def summary(one: StoredEvaluation) -> dict[str, Any]:
    """What a list says about an evaluation."""
    from codctl.runs.eval_result import Begun, to_json

    return {
        "id": one.id,
        "name": one.name,
        "path": str(one.path),
        "model": one.subject.title if one.subject else None,
        "subject": to_json(one.subject) if one.subject else {},
        "suite": one.suite,
        "worlds": list(dict.fromkeys(f"{part.family} {part.preset}" for part in one.parts)),
        "packs": max((part.packs for part in one.parts), default=None),
        "success": [_ends(part) for part in one.parts] if one.result else [],
        "state": one.state,
        "problem": one.problem,
        "played": one.played,
        "trajectories": one.head.trajectories if isinstance(one.head, Begun) else None,
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


def _ends(part: PartHead) -> list[float]:
    """Success of the first arm at the first and the last position; over several models, of the last of them."""
    from codctl.runs.eval_result import PartResult, StepsPart

    points: Curve = ()
    if isinstance(part, PartResult):
        points = next((arm.success for arm in part.arms.values()), ())
    elif isinstance(part, StepsPart):
        points = next((models[-1].success for models in part.arms.values() if models), ())
    return [points[0].mean, points[-1].mean] if points else []
