"""Line charts as inline SVG: one topic, few grid lines, names beside the lines instead of a legend.

A series is told apart by colour, by dash and by marker, so that the chart survives colour blindness and grey print.
Colours are CSS classes; the page decides what they look like in light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup, escape

from codctl.quantities import percent

_GAP = 17.0  # between two names beside the lines
_CHAR_WIDTH = 6.7
_TOP, _BOTTOM, _LEFT = 30.0, 44.0, 46.0
MOST_BANDS = 2  # of more, bands would merge to grey: each point has a bar instead
_BESIDE = 3.0  # between the bars of two series at the same x


@dataclass(frozen=True)
class Point:
    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Look:
    """How a series is drawn: a CSS class for the colour, a stroke pattern and a marker."""

    css: str
    dash: str = ""
    marker: str = "circle"


@dataclass(frozen=True)
class Series:
    """One line.

    Attributes:
        name: Stands at its end; an empty name leaves the series unnamed.
        points: In order of x.
        look: How it is drawn.
        faint: Draw it as background (raw values behind a smoothed line).
    """

    name: str
    points: Sequence[Point]
    look: Look
    faint: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart before it is drawn.

    Attributes:
        key: Unique in the page; becomes part of element ids.
        title: Heading above the chart and accessible name.
        x_label: What runs to the right, with its unit.
        y_label: What runs upwards, with its unit.
        series: Lines, the background ones first.
        y_range: Fixed ends of the y axis; None fits the data.
        x_ticks: Fixed ticks; None takes a few round ones.
        show: How a y value is written.
        beyond: Shade the x values from here on …
        beyond_label: … and say why.
    """

    key: str
    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    y_range: tuple[float, float] | None = (0.0, 1.0)
    x_ticks: Sequence[float] | None = None
    show: Callable[[float], str] = percent
    beyond: float | None = None
    beyond_label: str = ""

    def svg(self, width: int, height: int) -> Markup:
        """Draw for a certain width in CSS pixels; a page draws twice rather than shrink the text."""
        return _Drawing(self, width, height).markup()


@dataclass(frozen=True)
class _Name:
    text: str
    look: Look
    wanted: float
    y: float


class _Drawing:
    def __init__(self, chart: Chart, width: int, height: int) -> None:
        self.chart, self.width, self.height = chart, width, height
        longest = max((len(self._named(s)) for s in chart.series if s.name and s.points), default=0)
        self.right = width - (34 + longest * _CHAR_WIDTH if longest else 16)
        self.bottom = height - _BOTTOM
        xs = [p.x for s in chart.series for p in s.points]
        self.x_low, self.x_high = min(xs, default=0.0), max(xs, default=1.0)
        self.x_middle = self.x_low
        with_intervals = [s for s in chart.series if any(p.low is not None for p in s.points)]
        self.has_bars = len(with_intervals) > MOST_BANDS
        shift = [_BESIDE * (i - (len(with_intervals) - 1) / 2) for i in range(len(with_intervals))]
        self.shifts = {id(s): by for s, by in zip(with_intervals, shift, strict=True)} if self.has_bars else {}
        self.is_one_x = self.x_low == self.x_high
        if self.is_one_x:
            self.x_low, self.x_high = self.x_low - 0.5, self.x_high + 0.5
        self.y_ticks = _y_ticks(chart)
        self.y_low, self.y_high = self.y_ticks[0], self.y_ticks[-1]

    def markup(self) -> Markup:
        key = f"{self.chart.key}-{self.width}"
        parts = [
            f'<svg viewBox="0 0 {self.width} {self.height}" role="img" aria-labelledby="{key}-t {key}-d">',
            f'<title id="{key}-t">{escape(self.chart.title)}</title>',
            f'<desc id="{key}-d">{escape(self._description())}</desc>',
            *self._shade(),
            *self._axes(),
        ]
        if not self.has_bars:
            for series in self.chart.series:
                parts += self._band(series)
        for series in self.chart.series:
            parts += self._line(series)
        parts += self._names()
        parts.append("</svg>")
        return Markup("\n".join(parts))  # noqa: S704  every text above went through escape

    def _x(self, x: float) -> float:
        share = (x - self.x_low) / (self.x_high - self.x_low)
        return _LEFT + 10 + share * (self.right - _LEFT - 20)

    def _y(self, y: float) -> float:
        share = (min(max(y, self.y_low), self.y_high) - self.y_low) / (self.y_high - self.y_low)
        return self.bottom - share * (self.bottom - _TOP)

    def _named(self, series: Series) -> str:
        return f"{series.name}: {self.chart.show(series.points[-1].y)}"

    def _description(self) -> str:
        """The chart in words, for those who do not see it."""
        lines = []
        for series in self.chart.series:
            if series.name and series.points:
                first, last = series.points[0], series.points[-1]
                ends = (f"{self.chart.show(point.y)} at {point.x:g}" for point in (first, last))
                lines.append(f"{series.name}: {', '.join(ends)}.")
        return f"{self.chart.y_label} over {self.chart.x_label}. {' '.join(lines)}"

    def _axes(self) -> list[str]:
        parts = [f'<text class="label" x="0" y="13">{escape(self.chart.y_label)}</text>']
        for tick in self.y_ticks:
            y = self._y(tick)
            parts.append(f'<line class="grid" x1="{_LEFT}" x2="{self.right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>')
            text = escape(self.chart.show(tick))
            parts.append(f'<text class="tick" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
        ticks = [self.x_middle] if self.is_one_x else self.chart.x_ticks
        for tick in _round_ticks(self.x_low, self.x_high, 4 if self.width < 400 else 6) if ticks is None else ticks:
            x = self._x(tick)
            parts.append(
                f'<text class="tick" x="{x:.1f}" y="{self.bottom + 18:.1f}" text-anchor="middle">{tick:g}</text>'
            )
        middle = (_LEFT + self.right) / 2
        parts.append(
            f'<text class="label" x="{middle:.1f}" y="{self.height - 6}" text-anchor="middle">'
            f"{escape(self.chart.x_label)}</text>"
        )
        return parts

    def _shade(self) -> list[str]:
        if self.chart.beyond is None or self.chart.beyond >= self.x_high:
            return []
        x = self._x(self.chart.beyond)
        size = f'width="{self.right - x:.1f}" height="{self.bottom - _TOP:.1f}"'
        return [
            f'<rect class="shade" x="{x:.1f}" y="{_TOP}" {size}/>',
            f'<text class="tick" x="{x:.1f}" y="{_TOP - 6:.1f}">{escape(self.chart.beyond_label)}</text>',
        ]

    def _band(self, series: Series) -> list[str]:
        ends = [(p.x, p.low, p.high) for p in series.points if p.low is not None and p.high is not None]
        if len(ends) < 2:
            return []
        upper = [f"{self._x(x):.1f},{self._y(high):.1f}" for x, _, high in ends]
        lower = [f"{self._x(x):.1f},{self._y(low):.1f}" for x, low, _ in reversed(ends)]
        return [f'<polygon class="band {series.look.css}" points="{" ".join(upper + lower)}"/>']

    def _line(self, series: Series) -> list[str]:
        if not series.points:
            return []
        look = series.look
        by = self.shifts.get(id(series), 0.0)
        path = " ".join(f"{self._x(p.x) + by:.1f},{self._y(p.y):.1f}" for p in series.points)
        if series.faint:
            return [f'<polyline class="line faint {look.css}" points="{path}"/>']
        dash = f' stroke-dasharray="{look.dash}"' if look.dash else ""
        parts = [f'<polyline class="line {look.css}" points="{path}"{dash}/>']
        count = len(series.points)
        shown = range(count) if count <= 12 else sorted({round(i * (count - 1) / 5) for i in range(6)})
        for point in (series.points[i] for i in shown):
            tip = escape(self._tip(series, point))
            mark = _marker(look, self._x(point.x) + by, self._y(point.y))
            parts.append(f"<g>{self._bar(series, point, by)}{mark}<title>{tip}</title></g>")
        return parts

    def _bar(self, series: Series, point: Point, by: float) -> str:
        """The interval of one point where bands of many series would cover each other."""
        if not self.has_bars or point.low is None or point.high is None:
            return ""
        x, low, high = self._x(point.x) + by, self._y(point.low), self._y(point.high)
        return f'<path class="bar {series.look.css}" d="M{x:.1f} {low:.1f}V{high:.1f}m-3 0h6M{x - 3:.1f} {low:.1f}h6"/>'

    def _tip(self, series: Series, point: Point) -> str:
        text = f"{series.name}, {self.chart.x_label.split(' (')[0]} {point.x:g}: {self.chart.show(point.y)}"
        if point.low is None or point.high is None:
            return text
        return f"{text} (95 % interval {self.chart.show(point.low)} to {self.chart.show(point.high)})"

    def _names(self) -> list[str]:
        parts = []
        for name in self._spread_names():
            x = self.right + 4
            if abs(name.y - name.wanted) > 4:
                parts.append(
                    f'<line class="leader" x1="{x - 6:.1f}" y1="{name.wanted:.1f}" x2="{x + 5:.1f}" y2="{name.y:.1f}"/>'
                )
            parts.append(_marker(name.look, x + 11, name.y))
            parts.append(f'<text class="name" x="{x + 20:.1f}" y="{name.y + 4:.1f}">{escape(name.text)}</text>')
        return parts

    def _spread_names(self) -> list[_Name]:
        """Names at the ends of their lines, pushed apart where they would overlap."""
        names = sorted(
            (
                _Name(self._named(s), s.look, self._y(s.points[-1].y), self._y(s.points[-1].y))
                for s in self.chart.series
                if s.name and s.points
            ),
            key=lambda name: name.wanted,
        )
        placed: list[_Name] = []
        for name in names:
            floor = placed[-1].y + _GAP if placed else _TOP - 8
            placed.append(replace(name, y=max(name.wanted, floor)))
        ceiling = self.bottom + 4
        for i in range(len(placed) - 1, -1, -1):
            placed[i] = replace(placed[i], y=min(placed[i].y, ceiling))
            ceiling = placed[i].y - _GAP
        return placed


def _marker(look: Look, x: float, y: float) -> str:
    shapes = {
        "circle": f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4"/>',
        "square": f'<rect x="{x - 3.6:.1f}" y="{y - 3.6:.1f}" width="7.2" height="7.2"/>',
        "diamond": f'<path d="M{x:.1f} {y - 5.2:.1f}l5.2 5.2l-5.2 5.2l-5.2 -5.2z"/>',
        "up": f'<path d="M{x:.1f} {y - 5:.1f}l5 9h-10z"/>',
        "down": f'<path d="M{x:.1f} {y + 5:.1f}l5 -9h-10z"/>',
        "cross": f'<path class="open" d="M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8"/>',
        "plus": f'<path class="open" d="M{x - 5:.1f} {y:.1f}h10m-5 -5v10"/>',
        "ring": f'<circle class="open" cx="{x:.1f}" cy="{y:.1f}" r="3.6"/>',
    }
    return f'<g class="mark {look.css}">{shapes[look.marker]}</g>'


def _y_ticks(chart: Chart) -> list[float]:
    if chart.y_range == (0.0, 1.0):
        return [0.0, 0.25, 0.5, 0.75, 1.0]
    if chart.y_range is not None:
        low, high = chart.y_range
    else:
        ys = [p.y for s in chart.series for p in s.points] or [0.0]
        low, high = min(0.0, *ys), max(0.0, *ys)
    if low == high:
        high = low + 1.0
    step = _round_step(high - low, 4)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, max(last, first + 1) + 1)]


def _round_ticks(low: float, high: float, at_most: int) -> list[float]:
    """Ticks for steps and positions, which are whole numbers."""
    step = max(1.0, _round_step(high - low, at_most))
    return [i * step for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _round_step(span: float, at_most: int) -> float:
    """The smallest of 1, 2, 2.5, 5 × 10ⁿ that needs no more than so many steps."""
    magnitude = 10.0 ** math.floor(math.log10(span / at_most))
    return next(m * magnitude for m in (1, 2, 2.5, 5, 10, 20) if span / (m * magnitude) <= at_most + 1e-9)
