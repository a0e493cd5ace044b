"""The tables of the README beside, from a finished study: `python experiments/generalization/table.py SWEEP_FOLDER`.

Prints Markdown: gain within a pack and success at the last position for each training set and evaluation, and what the
ablation shows. What is incomplete has no number.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Estimate = Mapping[str, float]


def points(found: Estimate) -> str:
    return f"{100 * found['mean']:+.0f} [{100 * found['low']:+.0f}, {100 * found['high']:+.0f}]"


def share(found: Estimate) -> str:
    return f"{found['mean']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"


def cell(found: Mapping[str, Any], show: Callable[[Mapping[str, Any]], str]) -> str:
    if found["state"] == "absent":
        return "–"
    return show(found) if found["state"] == "complete" else f"incomplete ({len(found['seeds'])} of {found['of']} seeds)"


def table(result: Mapping[str, Any], title: str, show: Callable[[Mapping[str, Any]], str]) -> None:
    evaluations = [one["key"] for one in result["evaluations"]]
    cells = {(one["setting"], one["evaluation"]): one for one in result["cells"]}
    print(f"\n**{title}**\n\n| | " + " | ".join(evaluations) + " |\n" + "|---" * (len(evaluations) + 1) + "|")
    for setting in (one["title"] for one in result["settings"]):
        print(f"| {setting} | " + " | ".join(cell(cells[setting, key], show) for key in evaluations) + " |")


def ablation(result: Mapping[str, Any]) -> None:
    print("\n**What the ablation shows: gain, percentage points**\n")
    print("| | against | evaluation | difference |\n|---|---|---|---|")
    for one in result["ablations"]["differences"]:
        print(f"| {one['setting']} | {one['theirs']} | {one['evaluation']} | {points(one['gain'])} |")


def main(folder: str) -> None:
    result = json.loads((Path(folder) / "result.json").read_text())
    print(result["headline"].replace("\N{NO-BREAK SPACE}", " "))
    table(result, "Gain within a pack, own hints, percentage points", lambda one: points(one["gain"]["own"]))
    table(result, "Gain within a pack, no hints, percentage points", lambda one: points(one["gain"]["none"]))
    table(result, "Success at the last position, own hints", lambda one: share(one["arms"]["own"][-1]))
    table(result, "Own minus no hints at the last position, points", lambda one: points(one["own_less_none"]))
    ablation(result)


if __name__ == "__main__":
    main(*sys.argv[1:])
