"""One self-contained page about two models or more on the same packs."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from codctl import quantities
from codctl.quantities import counted
from codctl.report.chart import Chart, Look, Point, Series
from codctl.report.curves import ARMS
from codctl.report.environment import fill

_LOOKS = (
    Look("c-none", "4 3", "up"),
    Look("c-own", "", "circle"),
    Look("c-oracle", "8 3", "diamond"),
    Look("c-history", "2 3", "square"),
    Look("c-shuffled", "8 3 2 3", "cross"),
    Look("c-before", "5 3", "down"),
    Look("c-other", "1 3", "plus"),
)
_POSITION = "position in the pack"


def render(result: Mapping[str, Any]) -> str:
    """The page as text.

    Args:
        result: Of `stages.compare_evaluations`.
    """
    letters = letters_of(len(result["models"]))
    content = {
        "result": result,
        "models": list(zip(letters, result["models"], strict=True)),
        "headline": headline(result["parts"][0], letters),
        "parts": [_part(f"p{number}", part, letters) for number, part in enumerate(result["parts"])],
        "command": shlex.join(result["command"]),
    }
    return fill("comparison.html", content)


def letters_of(count: int) -> list[str]:
    """Short names of models: A, B, …"""
    return [chr(ord("A") + number) if number < 26 else f"M{number + 1}" for number in range(count)]


def headline(part: Mapping[str, Any], letters: Sequence[str]) -> str:
    """Whether the second model is better than the first, in a sentence."""
    arm, found = next(iter(part["arms"].items()))
    difference = found["differences"][0]["mean"]
    if difference is None:
        return "No task was played by both models."
    mean, low, high = (quantities.signed_points(difference[key]) for key in ("mean", "low", "high"))
    name = ARMS[arm][0] if arm in ARMS else arm
    if difference["low"] > 0:
        verdict = f"{letters[1]} solves more than {letters[0]}"
    elif difference["high"] < 0:
        verdict = f"{letters[1]} solves less than {letters[0]}"
    else:
        verdict = f"No measurable difference between {letters[1]} and {letters[0]}"
    packs = counted(part["packs"], "pack")
    return f"{verdict}: {mean} points of the tasks (95 % interval {low} to {high}), {name}, {packs}"


def _part(key: str, part: Mapping[str, Any], letters: Sequence[str]) -> dict[str, Any]:
    charts = []
    for arm, found in part["arms"].items():
        charts += [_success(f"{key}-{arm}", arm, found, letters), _differences(f"{key}-{arm}-d", arm, found, letters)]
    world = " ".join(filter(None, (part["family"], part["preset"], part["variant"])))
    return {
        "title": part["name"].replace("/", ": ", 1),
        "about": f"{world}, the {counted(part['packs'], 'pack')} of {part['length']} that all of them played",
        "notes": part["notes"],
        "charts": charts,
        "positions": [quantities.position(place) for place in part["positions"]],
        "rows": [row for arm, found in part["arms"].items() for row in rows_of(arm, found, part, letters)],
    }


def rows_of(arm: str, found: Mapping[str, Any], part: Mapping[str, Any], letters: Sequence[str]) -> list[list[str]]:
    """Arm, model, success by position, mean over positions, and gain; then the same of the differences."""
    rows = []
    for letter, model in zip(letters, found["models"], strict=True):
        rows.append([arm, letter, *_cells(model, part["positions"], quantities.share)])
    for one in found["differences"]:
        name = f"{letters[one['model']]} \N{MINUS SIGN} {letters[one['against']]}"
        rows.append([arm, name, *_cells(one, part["positions"], quantities.difference)])
    return rows


def _cells(found: Mapping[str, Any], positions: Sequence[int], show: Any) -> list[str]:
    points = {point["position"]: point for point in found["success"]}
    cells = [quantities.with_interval(points[place], show) if place in points else "–" for place in positions]
    cells.append(quantities.with_interval(found["mean"], show) if found["mean"] else "–")
    gain = found.get("gain")
    return [*cells, quantities.with_interval(gain, quantities.difference) if gain else "–"]


def _success(key: str, arm: str, found: Mapping[str, Any], letters: Sequence[str]) -> Chart:
    series = [
        Series(letter, _points(model["success"]), _LOOKS[number % len(_LOOKS)])
        for number, (letter, model) in enumerate(zip(letters, found["models"], strict=True))
    ]
    return Chart(key, f"Success by position, {_name(arm)}", _POSITION, "success, share of packs", series)


def _differences(key: str, arm: str, found: Mapping[str, Any], letters: Sequence[str]) -> Chart:
    series = [
        Series(
            f"{letters[one['model']]} \N{MINUS SIGN} {letters[one['against']]}",
            _points(one["success"]),
            _LOOKS[one["model"] % len(_LOOKS)],
        )
        for one in found["differences"]
    ]
    ends = [abs(end) for one in found["differences"] for at in one["success"] for end in (at["low"], at["high"])]
    reach = max([0.05, *ends])
    title, y_label = f"Difference within the same packs, {_name(arm)}", "percentage points"
    return Chart(key, title, _POSITION, y_label, series, y_range=(-reach, reach), show=quantities.signed_points)


def _name(arm: str) -> str:
    return ARMS[arm][0] if arm in ARMS else arm


def _points(curve: Sequence[Mapping[str, float]]) -> list[Point]:
    return [Point(quantities.position(int(at["position"])), at["mean"], at["low"], at["high"]) for at in curve]
