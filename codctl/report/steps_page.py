"""One self-contained page about a run's saved models: success over the steps of CoD-Train, by position."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from codctl.quantities import percent
from codctl.quantities import position as counted
from codctl.report.chart import Chart, Point, Series
from codctl.report.costs import duration
from codctl.report.curves import ARMS
from codctl.report.environment import fill
from codctl.report.learning import evenly, position_look
from codctl.report.top import top
from codctl.results.about import model_of_run

_STEP = "steps of CoD-Train"
_MOST_LINES = 8


def render(result: Mapping[str, Any]) -> str:
    """The page as text.

    Args:
        result: Of `stages.over_steps`.
    """
    content = {
        "result": result,
        "headline": headline(result["parts"][0]),
        "parts": [_part(f"p{number}", part) for number, part in enumerate(result["parts"])],
        "models": [(model_of_run(model), model["evaluation"]) for model in result["models"]],
        "command": shlex.join(result["command"]),
        "top": top(version=result["codctl_version"], command=shlex.join(result["command"]), machine=result["machine"]),
        "time": duration(result["seconds"]),
    }
    return fill("steps.html", content)


def headline(part: Mapping[str, Any]) -> str:
    """Success at the last position, of the first model and of the last one."""
    arm, points = next(iter(part["arms"].items()))
    last = part["positions"][-1] if part["positions"] else 0
    found = [(point["step"], at["mean"]) for point in points for at in point["success"] if at["position"] == last]
    if not found:
        return "No task at the last position was played"
    ends = ", ".join(f"{percent(mean)} at step {step}" for step, mean in dict([found[0], found[-1]]).items())
    return f"Success at position {counted(last)}, {ARMS[arm][0] if arm in ARMS else arm}: {ends}"


def _part(key: str, part: Mapping[str, Any]) -> dict[str, Any]:
    evaluation, _, world = part["name"].partition("/")
    charts = [_chart(f"{key}-{arm}", arm, points, part) for arm, points in part["arms"].items()]
    return {
        "title": f"{evaluation}: {world}",
        "about": f"{part['family']} {part['preset']}, {part['packs']} held-out packs of {part['length']}",
        "charts": [chart for chart in charts if chart is not None],
        "positions": [counted(place) for place in part["positions"]],
        "rows": [_row(arm, point, part) for arm, points in part["arms"].items() for point in points],
    }


def _chart(key: str, arm: str, points: list[dict[str, Any]], part: Mapping[str, Any]) -> Chart | None:
    """One line for each position; of a long pack, for some of them."""
    places = evenly(part["positions"], _MOST_LINES)
    series = [
        Series(f"position {counted(place)}", _over_steps(points, place), position_look(rank, len(places)))
        for rank, place in enumerate(places)
    ]
    series = [one for one in series if one.points]
    if not series:
        return None
    steps = sorted({point.x for one in series for point in one.points})
    name = ARMS[arm][0] if arm in ARMS else arm
    ticks = steps if len(steps) <= _MOST_LINES else None
    return Chart(key, f"Success by step, {name}", _STEP, "success, share of packs", series, x_ticks=ticks)


def _over_steps(points: list[dict[str, Any]], place: int) -> list[Point]:
    return [
        Point(point["step"], at["mean"], at["low"], at["high"])
        for point in points
        for at in point["success"]
        if at["position"] == place
    ]


def _row(arm: str, point: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    found = {at["position"]: at for at in point["success"]}
    cells = [found.get(place) for place in part["positions"]]
    return {"arm": arm, "step": point["step"], "cells": cells, "gain": point.get("gain")}
