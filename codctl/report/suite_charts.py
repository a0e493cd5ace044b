"""Charts of one part of a suite: success by position, what is solved by attempt k, and how right the hints are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from codctl.cod.arms import title_of
from codctl.quantities import number, position
from codctl.report.chart import Chart, Look, Point, Series
from codctl.report.curves import ARMS, OTHER_ARM, POSITION

_REFERENCES = {"informed": Look("c-informed", "1 4", "plus"), "bayes": Look("c-bayes", "2 4", "ring")}
_ATTEMPTS = "attempt at the same task"


def charts(key: str, part: Mapping[str, Any]) -> list[Chart]:
    """What there is to draw about a part. `key` is unique in the page."""
    is_ralph = "solved_by_attempt" in part
    title = "Success by attempt" if is_ralph else "Success by position"
    found = [_curves(f"{key}-success", title, part, part, "success", "success, share of packs")]
    if is_ralph:
        found.append(_solved(f"{key}-solved", part))
    if foreign := part.get("foreign"):
        title = f"The distractor tasks in between ({foreign['family']} {foreign['preset']})"
        found.append(_curves(f"{key}-foreign", title, part, foreign, "success", "success, share of packs"))
    hints = "How right the hints are"
    found.append(_curves(f"{key}-hints", hints, part, part, "hint_correctness", "knowable facts stated correctly"))
    shaped = _curves(f"{key}-reward", "Shaped reward", part, part, "shaped_reward", "shaped reward (0 to 1)")
    found.append(replace(shaped, show=number) if shaped else None)
    return [chart for chart in found if chart is not None]


def _curves(
    key: str, title: str, part: Mapping[str, Any], found: Mapping[str, Any], measure: str, y_label: str
) -> Chart | None:
    series = _references(found["ceiling_curves"]) if measure == "success" else []
    arms = {arm: curves[measure] for arm, curves in found["arms"].items()}
    if measure == "hint_correctness":  # where no hints are, none can be right
        arms = {arm: curve for arm, curve in arms.items() if arm != "none"}
    series += _arms(arms, "position")
    series = [one for one in series if one.points]
    if not series:
        return None
    changed = part.get("drift_at")
    return Chart(
        key,
        title,
        _ATTEMPTS if "solved_by_attempt" in part else POSITION,
        y_label,
        series,
        x_ticks=_ticks(series),
        beyond=None if changed is None else position(changed) - 0.5,
        beyond_label="the facts have changed",
    )


def _solved(key: str, part: Mapping[str, Any]) -> Chart:
    found = part["solved_by_attempt"]
    arms = {name: curve for name, curve in found.items() if name in part["arms"]}
    references = {name: curve for name, curve in found.items() if name not in arms}
    series = _references(references, "attempt") + _arms(arms, "attempt")
    return Chart(key, "Solved by attempt k", _ATTEMPTS, "tasks solved at least once", series, x_ticks=_ticks(series))


def _arms(curves: Mapping[str, Sequence[Mapping[str, Any]]], axis: str) -> list[Series]:
    others = {arm: (title_of(arm), OTHER_ARM) for arm in curves if arm not in ARMS}
    known = {**others, **dict(reversed(ARMS.items()))}
    return [Series(name, _points(curves[arm], axis), look) for arm, (name, look) in known.items() if arm in curves]


def _references(curves: Mapping[str, Sequence[Mapping[str, Any]]], axis: str = "position") -> list[Series]:
    """Ceilings are drawn as lines without intervals, which would cover those of the arms; the tables have both."""
    return [
        Series(name, [Point(point.x, point.y) for point in _points(curves[name], axis)], look)
        for name, look in _REFERENCES.items()
        if name in curves
    ]


def _points(curve: Sequence[Mapping[str, Any]], axis: str) -> list[Point]:
    first = position(0) if axis == "position" else 0  # attempts are counted from 1 already
    return [Point(point[axis] + first, point["mean"], point["low"], point["high"]) for point in curve]


def _ticks(series: Sequence[Series]) -> list[float]:
    """All of a few places, else every so many."""
    places = sorted({point.x for one in series for point in one.points})
    return places if len(places) <= 8 else places[:: -(-len(places) // 8)]
