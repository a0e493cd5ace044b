"""One self-contained page about two models or more on the same packs."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from codctl import quantities
from codctl.quantities import counted
from codctl.report.arm_styles import name_of
from codctl.report.chart import Chart, Look, Series
from codctl.report.curves import RAW, SUCCESS, around, chart, line
from codctl.report.template import fill
from codctl.results.comparison import ComparedArm, ComparedPart, Comparison, Difference, Numbers
from codctl.runs.eval_result import Curve

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
    said = f"{verdict}: {mean} points of the tasks (95 % interval {low} to {high}), {name_of(arm)}, {packs}"
    reward = found.differences[0].raw_reward
    if reward is None or reward.mean is None:
        return said
    mean, low, high = map(_change, (reward.mean.mean, reward.mean.low, reward.mean.high))
    return f"{said}; mean reward {mean} ({low} to {high})"


def _reward(value: float) -> str:
    """In hundredths: unlike a share of tasks, 0.9999 may be written as 1.00."""
    return quantities.share(round(value, 2))


def _change(value: float) -> str:
    return quantities.difference(round(value, 2))


def _section(key: str, part: ComparedPart, letters: Sequence[str]) -> _Section:
    charts = []
    for arm, found in part.arms.items():
        charts += [_success(f"{key}-{arm}", arm, found, letters), _differences(f"{key}-{arm}-d", arm, found, letters)]
        charts += _rewards(f"{key}-{arm}-raw", arm, found, letters)
    return _Section(
        title=part.title,
        about=f"{part.world}, the {counted(part.packs, 'pack')} of {part.length} that all of them played",
        notes=part.notes,
        charts=charts,
        positions=[quantities.position(place) for place in part.positions],
        rows=[row for arm, found in part.arms.items() for row in rows_of(arm, found, part.positions, letters)],
    )


def rows_of(arm: str, found: ComparedArm, positions: Sequence[int], letters: Sequence[str]) -> list[list[str]]:
    """Arm, model, success by position, mean over positions, and gain; then the same of the differences.

    Behind them in a graded family: the same of the mean reward.
    """
    named = [
        *((letter, side, quantities.share, _reward) for letter, side in zip(letters, found.models, strict=True)),
        *((_minus(one, letters), one, quantities.difference, _change) for one in found.differences),
    ]
    rows = [
        [arm, name, *_cells(Numbers(side.success, side.mean, side.gain), positions, show, quantities.difference)]
        for name, side, show, _ in named
    ]
    return rows + [
        [arm, f"{name}, mean reward", *_cells(side.raw_reward, positions, show, _change)]
        for name, side, _, show in named
        if side.raw_reward
    ]


def _minus(one: Difference, letters: Sequence[str]) -> str:
    return f"{letters[one.model]} \N{MINUS SIGN} {letters[one.against]}"


def _cells(
    found: Numbers, positions: Sequence[int], show: Callable[[float], str], show_gain: Callable[[float], str]
) -> list[str]:
    points = {point.position: point for point in found.curve}
    cells = [quantities.with_interval(points[place], show) if place in points else "–" for place in positions]
    cells.append(quantities.with_interval(found.mean, show) if found.mean else "–")
    return [*cells, quantities.with_interval(found.gain, show_gain) if found.gain else "–"]


def _success(key: str, arm: str, found: ComparedArm, letters: Sequence[str]) -> Chart:
    curves = [model.success for model in found.models]
    return chart(key, f"Success by position, {name_of(arm)}", SUCCESS, _lines(curves, letters))


def _differences(key: str, arm: str, found: ComparedArm, letters: Sequence[str]) -> Chart:
    series = _lines_between([(one, one.success) for one in found.differences], letters)
    title, signed = f"Difference within the same packs, {name_of(arm)}", quantities.signed_points
    return chart(key, title, "percentage points", series, y_range=_reach(series), show=signed)


def _rewards(key: str, arm: str, found: ComparedArm, letters: Sequence[str]) -> list[Chart]:
    """Of a graded family; of others none."""
    curves = [model.raw_reward.curve for model in found.models if model.raw_reward]
    if not curves:
        return []
    lines, title = _lines(curves, letters), f"Mean reward, {name_of(arm)}"
    between = _lines_between([(one, one.raw_reward.curve) for one in found.differences if one.raw_reward], letters)
    apart = f"Difference of the mean reward within the same packs, {name_of(arm)}"
    return [
        chart(key, title, RAW, lines, show=quantities.number, y_range=around(lines)),
        chart(f"{key}-d", apart, RAW, between, show=_change, y_range=_reach(between)),
    ]


def _lines(curves: Sequence[Curve], letters: Sequence[str]) -> list[Series]:
    looks = (_LOOKS[number % len(_LOOKS)] for number in range(len(letters)))
    return [line(letter, curve, look) for letter, curve, look in zip(letters, curves, looks, strict=True)]


def _lines_between(curves: Sequence[tuple[Difference, Curve]], letters: Sequence[str]) -> list[Series]:
    return [line(_minus(one, letters), curve, _LOOKS[one.model % len(_LOOKS)]) for one, curve in curves]


def _reach(series: Sequence[Series]) -> tuple[float, float]:
    """Ends of the y axis, as far below zero as above it."""
    ends = [abs(end) for one in series for at in one.points for end in (at.low, at.high) if end is not None]
    reach = max([0.05, *ends])
    return -reach, reach
