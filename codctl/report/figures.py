"""The charts of a run as files for a talk or a paper: SVG, PNG and the numbers as CSV, in the page's light colours."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.errors import UsageError
from codctl.files import atomic
from codctl.report import curves, run_page
from codctl.report.chart import MOST_BANDS, Chart, Look, Series
from codctl.report.source import Source, load
from codctl.runs.directory import RunDirectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INCHES, _DPI = (8.4, 4.8), 200
_STYLE = {"font.size": 12.5, "axes.titlesize": 15, "svg.fonttype": "path", "svg.hashsalt": "codctl"}
_MARKERS = {
    "circle": "o", "square": "s", "diamond": "D", "up": "^", "down": "v", "cross": "x", "plus": "+", "ring": "o"
}  # fmt: skip
_LABEL_GAP = 0.062  # between two names, as a share of the height
_BESIDE = 0.035  # between the bars of two series, in positions


@dataclass(frozen=True)
class Drawn:
    """One figure: its files differ in their ending only."""

    name: str
    title: str
    files: tuple[Path, ...]


def write_figures(run: RunDirectory, folder: Path) -> list[Drawn]:
    """Write every chart of a run's page, and one that sums it up.

    Args:
        run: The run.
        folder: Where the files go; made if it is missing.

    Raises:
        UsageError: The run has nothing to draw yet.
        StageError: The files cannot be written.
    """
    source = load(run)
    charts = list(_charts(source))
    if not charts:
        raise UsageError(
            "there is nothing to draw: no step and no evaluation is done yet",
            where=str(run.path),
            hint=f"codctl status {run.name}",
        )
    with atomic.storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    from matplotlib import rc_context

    with rc_context(_STYLE):
        return [_write(folder, name, chart, about) for name, chart, about in charts]


def _charts(source: Source) -> Iterator[tuple[str, Chart, str]]:
    """Name, chart and subtitle."""
    found = run_page.families_of(source)
    for world in found:
        evaluations = world.evaluations
        family, several = evaluations.world.family, len(found) > 1
        about = f"{source.manifest['name']}: {world.title}"
        packs = f", {evaluations.newest.packs} held-out packs" if evaluations.newest else ""
        drawn = [(section, chart) for section, charts in world.charts.items() for chart in charts]
        if evaluations.after:
            drawn.insert(0, ("position", curves.learning_on_the_job(evaluations.before, evaluations.after)))
        for section, chart in drawn:
            name = chart.key.removeprefix(f"{world.key}-")
            yield f"{name}-{family}" if several else name, chart, about if section == "learning" else about + packs


def _write(folder: Path, name: str, chart: Chart, about: str) -> Drawn:
    figure = _draw(chart, about)
    files = []
    for kind in ("svg", "png"):
        content = io.BytesIO()
        metadata: dict[str, Any] = {"Date": None} if kind == "svg" else {}
        figure.savefig(content, format=kind, dpi=_DPI, metadata=metadata, bbox_inches="tight", pad_inches=0.2)
        files.append(folder / f"{name}.{kind}")
        atomic.write_bytes(files[-1], content.getvalue())
    files.append(folder / f"{name}.csv")
    atomic.write_text(files[-1], _numbers(chart))
    return Drawn(name, chart.title, tuple(files))


def _numbers(chart: Chart) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["series", chart.x_label, chart.y_label, "low", "high"])
    for series in chart.series:
        rows.writerows([series.name, f"{p.x:g}", p.y, p.low, p.high] for p in series.points if not series.faint)
    return text.getvalue()


def _draw(chart: Chart, about: str) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=_INCHES, facecolor="white")
    axes = figure.add_subplot()
    axes.set_title(chart.title, loc="left", pad=30, fontweight="bold")
    axes.text(0, 1.045, about, transform=axes.transAxes, color=_colour("soft"), fontsize=11)
    with_bars = [series for series in chart.series if any(point.low is not None for point in series.points)]
    has_bars = len(with_bars) > MOST_BANDS
    for series in chart.series:
        by = _BESIDE * (with_bars.index(series) - (len(with_bars) - 1) / 2) if has_bars and series in with_bars else 0
        _line(axes, replace(series, points=[replace(p, x=p.x + by) for p in series.points]), has_bars=has_bars)
    _dress(axes, chart)
    _names(axes, chart)
    return figure


def _line(axes: Axes, series: Series, *, has_bars: bool) -> None:
    xs, ys = [p.x for p in series.points], [p.y for p in series.points]
    colour = _colour_of(series.look)
    if series.faint:
        axes.plot(xs, ys, color=colour, alpha=0.28, linewidth=1)
        return
    few = len(xs) <= 12
    is_open = series.look.marker in ("ring", "cross", "plus")
    axes.plot(
        xs,
        ys,
        color=colour,
        linestyle=_dashes(series.look),
        linewidth=2.2,
        marker=_MARKERS[series.look.marker] if few else "",
        markersize=7,
        markerfacecolor="white" if is_open else colour,
        zorder=3,
    )
    ends = [(p.x, p.y, p.low, p.high) for p in series.points if p.low is not None and p.high is not None]
    if ends and has_bars and few:
        x, y, low, high = zip(*ends, strict=True)
        sizes = [[a - b for a, b in zip(y, low, strict=True)], [b - a for a, b in zip(y, high, strict=True)]]
        axes.errorbar(x, y, yerr=sizes, fmt="none", ecolor=colour, elinewidth=1.3, capsize=3, zorder=2)
    elif ends and not has_bars:
        axes.fill_between([e[0] for e in ends], [e[2] for e in ends], [e[3] for e in ends], color=colour, alpha=0.15)


def _dress(axes: Axes, chart: Chart) -> None:
    """Axes, grid and labels."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.set_xlabel(chart.x_label, color=_colour("soft"))
    axes.set_ylabel(chart.y_label, color=_colour("soft"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: chart.show(round(value, 12))))
    if chart.y_range == (0.0, 1.0):
        axes.set_ylim(-0.02, 1.04)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if chart.x_ticks is not None:
        axes.set_xticks(list(chart.x_ticks))
    if chart.beyond is not None and chart.beyond < axes.get_xlim()[1]:
        right = axes.get_xlim()[1]
        axes.axvspan(chart.beyond, right, color=_colour("soft"), alpha=0.08, linewidth=0)
        axes.set_xlim(right=right)
        axes.text(chart.beyond, 0.02, f" {chart.beyond_label}", transform=axes.get_xaxis_transform(), fontsize=11)
    axes.grid(axis="y", color=_colour("grid"), linewidth=1)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, colors=_colour("soft"))
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_colour("rule"))


def _names(axes: Axes, chart: Chart) -> None:
    """Names at the ends of their lines, pushed apart where they would overlap."""
    low, high = axes.get_ylim()
    named = [series for series in chart.series if series.name and series.points and not series.faint]
    wanted = sorted(((series.points[-1].y - low) / (high - low), series.name, series) for series in named)
    heights: list[float] = []
    for height, _, _ in wanted:
        heights.append(max(height, heights[-1] + _LABEL_GAP if heights else 0.0))
    top = 1.0
    for place in range(len(heights) - 1, -1, -1):
        heights[place] = min(heights[place], top)
        top = heights[place] - _LABEL_GAP
    for (_, name, series), height in zip(wanted, heights, strict=True):
        text = f"{name}: {chart.show(series.points[-1].y)}"
        axes.text(1.02, height, text, transform=axes.transAxes, va="center", color=_colour_of(series.look), fontsize=12)


def _dashes(look: Look) -> Any:
    return (0, tuple(float(part) / 1.5 for part in look.dash.split())) if look.dash else "-"


def _colour_of(look: Look) -> str:
    return _colour(look.css.removeprefix("c-"))


def _colour(name: str) -> str:
    return _colours()[name]


@cache
def _colours() -> dict[str, str]:
    """The page's own, from the light half of its style sheet."""
    style = (resources.files("codctl.report") / "templates/style.css").read_text(encoding="utf-8")
    light, _, _ = style.partition("@media")
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light))
