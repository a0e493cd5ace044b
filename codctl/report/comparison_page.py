"""One self-contained page about two models or more on the same packs."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from codctl import quantities
from codctl.quantities import counted
from codctl.report.arm_styles import name_of
from codctl.report.chart import Chart, Look
from codctl.report.curves import SUCCESS, chart, line
from codctl.report.template import fill
from codctl.results.comparison import ComparedArm, ComparedPart, Comparison, Side

_LOOKS = (
    Look("c-none", "4 3", "up"),
    Look("c-own", "", "circle"),
    Look("c-oracle", "8 3", "diamond"),
    Look("c-history", "2 3", "square"),
    Look("c-shuffled", "8 3 2 3", "cross"),
    Look("c-before", "5 3", "down"),
    Look("c-other", "1 3", "plus"),
)


@dataclass(frozen=True)
class _Section:
    """A part on the page."""

    title: str
    about: str
    notes: tuple[str, ...]
    charts: list[Chart]
    positions: list[int]
    rows: list[list[str]]


def render(result: Comparison) -> str:
    """The page as text."""
    letters = letters_of(len(result.models))
    content = {
        "result": result,
        "models": list(zip(letters, result.models, strict=True)),
        "headline": headline(result.parts[0], letters),
        "parts": [_section(f"p{number}", part, letters) for number, part in enumerate(result.parts)],
        "command": shlex.join(result.command),
    }
    return fill("comparison.html", content)


def letters_of(count: int) -> list[str]:
    """Short names of models: A, B, …"""
    return [chr(ord("A") + number) if number < 26 else f"M{number + 1}" for number in range(count)]


def headline(part: ComparedPart, letters: Sequence[str]) -> str:
    """Whether the second model is better than the first, in a sentence."""
    arm, found = next(iter(part.arms.items()))
    difference = found.differences[0].mean
    if difference is None:
        return "No task was played by both models."
    mean, low, high = map(quantities.signed_points, (difference.mean, difference.low, difference.high))
    if difference.low > 0:
        verdict = f"{letters[1]} solves more than {letters[0]}"
    elif difference.high < 0:
        verdict = f"{letters[1]} solves less than {letters[0]}"
    else:
        verdict = f"No measurable difference between {letters[1]} and {letters[0]}"
    packs = counted(part.packs, "pack")
    return f"{verdict}: {mean} points of the tasks (95 % interval {low} to {high}), {name_of(arm)}, {packs}"


def _section(key: str, part: ComparedPart, letters: Sequence[str]) -> _Section:
    charts = []
    for arm, found in part.arms.items():
        charts += [_success(f"{key}-{arm}", arm, found, letters), _differences(f"{key}-{arm}-d", arm, found, letters)]
    return _Section(
        title=part.title,
        about=f"{part.world}, the {counted(part.packs, 'pack')} of {part.length} that all of them played",
        notes=part.notes,
        charts=charts,
        positions=[quantities.position(place) for place in part.positions],
        rows=[row for arm, found in part.arms.items() for row in rows_of(arm, found, part.positions, letters)],
    )


def rows_of(arm: str, found: ComparedArm, positions: Sequence[int], letters: Sequence[str]) -> list[list[str]]:
    """Arm, model, success by position, mean over positions, and gain; then the same of the differences."""
    rows = []
    for letter, model in zip(letters, found.models, strict=True):
        rows.append([arm, letter, *_cells(model, positions, quantities.share)])
    for one in found.differences:
        name = f"{letters[one.model]} \N{MINUS SIGN} {letters[one.against]}"
        rows.append([arm, name, *_cells(one, positions, quantities.difference)])
    return rows


def _cells(found: Side, positions: Sequence[int], show: Callable[[float], str]) -> list[str]:
    points = {point.position: point for point in found.success}
    cells = [quantities.with_interval(points[place], show) if place in points else "–" for place in positions]
    cells.append(quantities.with_interval(found.mean, show) if found.mean else "–")
    return [*cells, quantities.with_interval(found.gain, quantities.difference) if found.gain else "–"]


def _success(key: str, arm: str, found: ComparedArm, letters: Sequence[str]) -> Chart:
    looks = (_LOOKS[number % len(_LOOKS)] for number in range(len(letters)))
    series = [
        line(letter, model.success, look) for letter, model, look in zip(letters, found.models, looks, strict=True)
    ]
    return chart(key, f"Success by position, {name_of(arm)}", SUCCESS, series)


def _differences(key: str, arm: str, found: ComparedArm, letters: Sequence[str]) -> Chart:
    pairs = ((f"{letters[one.model]} \N{MINUS SIGN} {letters[one.against]}", one) for one in found.differences)
    series = [line(name, one.success, _LOOKS[one.model % len(_LOOKS)]) for name, one in pairs]
    reach = max([0.05, *(abs(end) for one in found.differences for at in one.success for end in (at.low, at.high))])
    title, signed = f"Difference within the same packs, {name_of(arm)}", quantities.signed_points
    return chart(key, title, "percentage points", series, y_range=(-reach, reach), show=signed)
