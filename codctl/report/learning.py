"""Charts over the steps of CoD-Train, from metrics.jsonl."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from codctl.quantities import number, percent
from codctl.quantities import position as counted
from codctl.report.chart import Chart, Look, Point, Series

_STEP = "CoD-Train step"
_MOST_POSITIONS = 8
_DASHES = ("2 3", "6 3", "8 3 2 3", "")
_MARKERS = ("up", "square", "diamond", "circle")

# What tells a healthy run from a sick one: metric, title, unit, how a value is written.
_HEALTH: tuple[tuple[str, str, str, Callable[[float], str]], ...] = (
    ("groups/without_signal", "Groups without signal", "share of (pack, position, kind) groups", percent),
    ("failures/format", "Unreadable replies", "share of solve episodes", percent),
    ("failures/update", "Malformed updates", "share of update episodes", percent),
    ("failures/cut", "Replies cut at their token limit", "share of episodes", percent),
    ("entropy", "Entropy", "nats per generated token", number),
    ("logprob_gap/mean", "Gap between sampling and training log-probs", "mean |difference|, nats", number),
    ("grad_norm", "Gradient norm", "before clipping", number),
)


def by_position(records: Sequence[dict[str, Any]], key: str, measure: str, title: str, y_label: str) -> Chart | None:
    """One line per position over the steps: smoothed in front, raw values faint behind."""
    pattern = re.compile(re.escape(measure) + r"/position_(\d+)$")
    found = {match[1] for record in records for name in record["metrics"] if (match := pattern.match(name))}
    positions = evenly(sorted(map(int, found)), _MOST_POSITIONS)
    raw, smooth = [], []
    for rank, position in enumerate(positions):
        points = _points(records, f"{measure}/position_{position}")
        look = position_look(rank, len(positions))
        reach = max(1, len(points) // 15)
        if reach > 1:
            raw.append(Series("", points, look, faint=True))
        smooth.append(Series(f"position {counted(position)}", _smoothed(points, reach), look))
    show = number if measure.endswith("reward") else percent
    return Chart(key, title, _STEP, y_label, [*raw, *smooth], show=show) if smooth else None


def health(records: Sequence[dict[str, Any]]) -> list[Chart]:
    """Small charts of what to look at first when a run goes wrong."""
    charts = []
    for place, (metric, title, y_label, show) in enumerate(_HEALTH):
        if points := _points(records, metric):
            line = Series("", points, Look("c-own"))
            share = (0.0, 1.0) if show is percent else None
            charts.append(Chart(f"health{place}", title, _STEP, y_label, [line], share, show=show))
    return charts


def _points(records: Sequence[dict[str, Any]], metric: str) -> list[Point]:
    return [Point(record["step"], value) for record in records if (value := record["metrics"].get(metric)) is not None]


def _smoothed(points: Sequence[Point], reach: int) -> list[Point]:
    """Moving mean over `reach` steps to either side, fewer at the ends; 1 leaves the points alone."""
    if reach <= 1:
        return list(points)
    smoothed = []
    for i, point in enumerate(points):
        near = points[max(0, i - reach) : i + reach + 1]
        smoothed.append(Point(point.x, sum(p.y for p in near) / len(near)))
    return smoothed


def position_look(rank: int, count: int) -> Look:
    """From the first position to the last, along the page's colour ramp; the last is a plain line."""
    shade = round(rank * 7 / max(count - 1, 1)) if count > 1 else 7
    back = count - 1 - rank
    return Look(f"r{shade}", _DASHES[-1 - back % 4], _MARKERS[-1 - back % 4])


def evenly(items: list[int], at_most: int) -> list[int]:
    """So many of them, from the first to the last."""
    if len(items) <= at_most:
        return items
    return [items[round(i * (len(items) - 1) / (at_most - 1))] for i in range(at_most)]
