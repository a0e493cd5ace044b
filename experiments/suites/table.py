"""The tables of README.md in this folder, from finished suites: `python experiments/suites/table.py FOLDER [FOLDER …]`.

A folder is what `codctl eval --suite` leaves under runs/evaluations. Prints Markdown: success with its 95 % interval
over packs, and for Ralph loops the share solved so far.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_WIDEST = 8
_OF_MANY = (0, 1, 3, 7, 11, 15, 23, 31)  # positions shown of a long pack


def cell(point: Mapping[str, float]) -> str:
    return f"{point['mean']:.2f} [{point['low']:.2f}, {point['high']:.2f}]"


def table(title: str, curves: Mapping[str, Sequence[Mapping[str, float]]], key: str, first: int) -> None:
    places = [int(point[key]) for point in next(iter(curves.values()))]
    shown = places if len(places) <= _WIDEST else [place for place in places if place in _OF_MANY]
    print(f"\n**{title}**\n\n| | " + " | ".join(str(place + first) for place in shown) + " |")
    print("|---" * (len(shown) + 1) + "|")
    for name, curve in curves.items():
        points = {int(point[key]): point for point in curve}
        print(f"| {name} | " + " | ".join(cell(points[p]) if p in points else "–" for p in shown) + " |")


def part_tables(part: Mapping[str, Any]) -> None:
    is_ralph = "solved_by_attempt" in part
    what = f"{part['name']}: {part['packs']} packs of {part['length']}"
    curves = {f"{arm} success": found["success"] for arm, found in part["arms"].items()}
    curves["bayes success"] = part["ceiling_curves"]["bayes"]
    own = part["arms"]["own"]["hint_correctness"]
    if own:
        curves["own hint correctness"] = own
    table(f"{what}, by {'attempt' if is_ralph else 'position'}", curves, "position", 1)
    if is_ralph:
        solved = {f"{name} solved": curve for name, curve in part["solved_by_attempt"].items() if name != "informed"}
        table(f"{what}, solved by attempt", solved, "attempt", 0)


def main(folders: Sequence[str]) -> None:
    for folder in folders:
        result = json.loads((Path(folder) / "result.json").read_text())
        print(f"\n### {result['subject']['name']}: {result['suite']}")
        for part in result["parts"]:
            part_tables(part)


if __name__ == "__main__":
    main(sys.argv[1:])
