"""The one way from templates to a page, what stands at the top of each, and how times are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from codctl import quantities
from codctl.report.chart import Chart
from codctl.safe_text import visible

if TYPE_CHECKING:
    from jinja2 import Environment


_WIDE, _NARROW = (600, 340), (350, 300)
_SMALL_WIDE, _SMALL_NARROW = (380, 220), (350, 220)


def fill(template: str, content: Mapping[str, Any]) -> str:
    """A page as text. Texts of others are escaped, and their control characters are shown (`codctl.safe_text`)."""
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
    environment.filters["duration"] = duration
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


_COMMIT = 10  # characters that tell one commit from another


@dataclass(frozen=True)
class Top:
    items: Sequence[str]
    command: str


def top(*said: str, version: str, command: str, machine: Mapping[str, Any] | None = None) -> Top:
    """The lines under a page's title.

    Args:
        said: What the page itself knows: step, seeds.
        version: Of codctl.
        command: That made the results.
        machine: As `codctl.runs.machine` describes it.
    """
    commit = (machine or {}).get("commit", "")
    code = f"codctl {version}" + (f", commit {commit[:_COMMIT]}" if commit else "")
    written = f"page written {moment(datetime.now(UTC).isoformat())}"
    return Top([*filter(None, said), code, *([_machine(machine)] if machine else []), written], command)


def moment(stamp: str) -> str:
    """A time as people write it: 2026-11-27 16:58 UTC."""
    try:
        return f"{datetime.fromisoformat(stamp).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except ValueError:
        return stamp


def _machine(machine: Mapping[str, Any]) -> str:
    gpus = machine.get("gpus") or []
    shown = [f"{gpus.count(gpu)} × {gpu}" for gpu in dict.fromkeys(gpus)]
    return ", ".join([f"{machine.get('cpu', '')}, {machine.get('cores', '?')} cores", *shown])


def duration(seconds: float) -> str:
    """Seconds for people: 42 s, 3 min 20 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.0f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
