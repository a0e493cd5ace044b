"""Where the templates are, how they draw charts and write durations, and the one way from them to a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from codctl import quantities
from codctl.report import costs
from codctl.report.chart import Chart
from codctl.visible import visible

if TYPE_CHECKING:
    from jinja2 import Environment

_WIDE, _NARROW = (600, 340), (350, 300)
_SMALL_WIDE, _SMALL_NARROW = (380, 220), (350, 220)


def fill(template: str, content: Mapping[str, Any]) -> str:
    """A page as text. Texts of others are escaped, and their control characters are shown (`codctl.visible`)."""
    return visible(_environment().get_template(template).render(content))


def _environment() -> Environment:
    """Templates that escape everything and refuse names that they were not given."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("codctl.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["chart"] = _draw
    environment.globals["small_chart"] = _draw_small
    environment.filters["duration"] = costs.duration
    environment.filters["counted"] = quantities.counted
    environment.filters |= {"share": quantities.share, "change": quantities.difference, "percent": quantities.percent}
    return environment


def _draw(chart: Chart) -> Markup:
    return _twice(chart, _WIDE, _NARROW)


def _draw_small(chart: Chart) -> Markup:
    return _twice(chart, _SMALL_WIDE, _SMALL_NARROW)


def _twice(chart: Chart, wide: Sequence[int], narrow: Sequence[int]) -> Markup:
    """Both drawings; the style sheet shows the one that fits the window."""
    return Markup('<div class="wide">{}</div><div class="narrow">{}</div>').format(
        chart.svg(wide[0], wide[1]), chart.svg(narrow[0], narrow[1])
    )
