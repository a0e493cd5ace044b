"""One self-contained page about a run's saved models: success over the steps of CoD-Train, by position."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from codctl.quantities import percent
from codctl.quantities import position as counted
from codctl.report.arm_styles import name_of
from codctl.report.chart import Chart, Point, Series
from codctl.report.curves import SHARE, SUCCESS, evenly, position_look, reach_of
from codctl.report.template import duration, fill, top
from codctl.runs import eval_result
from codctl.runs.eval_result import Curve, Gain, StepPoint, StepsPart, StepsResult

_STEP = "steps of CoD-Train"
_MOST_LINES = 8


@dataclass(frozen=True)
class _Row:
    arm: str
    step: int
    cells: list[eval_result.PositionPoint | None]
    gain: Gain | None


@dataclass(frozen=True)
class _Section:
    title: str
    about: str
    charts: list[Chart]
    positions: list[int]
    rows: list[_Row]


def render(result: StepsResult) -> str:
    """The page as text."""
    command = shlex.join(result.command)
    content = {
        "result": result,
        "headline": headline(result.parts[0]) if result.parts else "Nothing was played",
        "parts": [_section(f"p{number}", part) for number, part in enumerate(result.parts)],
        "models": [(model.model, model.evaluation) for model in result.models],
        "command": command,
        "top": top(version=result.codctl_version, command=command, machine=result.machine),
        "time": duration(result.seconds),
    }
    return fill("steps.html", content)


def headline(part: StepsPart) -> str:
    """Success at the last position, of the first model and of the last one."""
    arm, points = next(iter(part.arms.items()), ("", ()))
    last = part.positions[-1] if part.positions else 0
    found = [(point.step, at.mean) for point in points for at in point.success if at.position == last]
    if not found:
        return "No task at the last position was played"
    ends = ", ".join(f"{percent(mean)} at step {step}" for step, mean in dict([found[0], found[-1]]).items())
    return f"Success at position {counted(last)}, {name_of(arm)}: {ends}"


def _section(key: str, part: StepsPart) -> _Section:
    charts = [_chart(f"{key}-{arm}", arm, points, part) for arm, points in part.arms.items()]
    charts += [_shares(f"{key}-{arm}-share", arm, points, part) for arm, points in part.arms.items()]
    return _Section(
        title=part.title,
        about=f"{part.world}, {part.packs} held-out packs of {part.length}",
        charts=[chart for chart in charts if chart.series],
        positions=[counted(place) for place in part.positions],
        rows=[_row(arm, point, part) for arm, points in part.arms.items() for point in points],
    )


def _chart(key: str, arm: str, points: Sequence[StepPoint], part: StepsPart) -> Chart:
    series, ticks = _lines([(point.step, point.success) for point in points], part)
    return Chart(key, f"Success by step, {name_of(arm)}", _STEP, SUCCESS, series, x_ticks=ticks)


def _shares(key: str, arm: str, points: Sequence[StepPoint], part: StepsPart) -> Chart:
    """Of a graded family; of others it has no line."""
    series, ticks = _lines([(point.step, point.share) for point in points], part)
    title = f"Share of what knowing the world gains, {name_of(arm)}"
    return Chart(key, title, _STEP, SHARE, series, reach_of(series), x_ticks=ticks)


def _lines(curves: Sequence[tuple[int, Curve]], part: StepsPart) -> tuple[list[Series], list[float] | None]:
    """One line for each position; of a long pack, for some of them. And the ticks of the steps."""
    places = evenly(list(part.positions), _MOST_LINES)
    lines = [
        Series(f"position {counted(place)}", _over_steps(curves, place), position_look(rank, len(places)))
        for rank, place in enumerate(places)
    ]
    series = [one for one in lines if one.points]
    steps = sorted({point.x for one in series for point in one.points})
    return series, steps if len(steps) <= _MOST_LINES else None


def _over_steps(curves: Sequence[tuple[int, Curve]], place: int) -> list[Point]:
    return [Point(step, at.mean, at.low, at.high) for step, curve in curves for at in curve if at.position == place]


def _row(arm: str, point: StepPoint, part: StepsPart) -> _Row:
    found = {at.position: at for at in point.success}
    return _Row(arm, point.step, [found.get(place) for place in part.positions], point.gain)
